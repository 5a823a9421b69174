# make demo    harmonize the built-in portrait into the built-in scene: a video and a before/after picture in demo-out/
# make test    linters, type checker, import contracts and the whole test suite
# make test-v4l2
#              calls with real drivers and a real browser, in a guest, and with PipeWire and browsers as a desktop has
#              them; gets all of it through apt, as root on Debian, and says why where it cannot
#
# Each makes its own virtual environment in .venv when none is there.

comma  := ,
PYTHON ?= python3
VENV   ?= .venv
EXTRAS ?= dev,train,openvino$(if $(findstring Linux x86_64,$(shell uname -sm)),$(comma)tensorrt-rtx)

bin   := $(VENV)/bin
base  := $(VENV)/.installed-base
extra := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: demo test test-v4l2 check clean

demo: $(base)
	$(bin)/livecomp demo --output demo-out --yes

test: $(extra) check
	$(bin)/python -m pytest

test-v4l2: $(extra)
	-$(bin)/python -m tests.v4l2.guest.parts
	-$(bin)/python -m tests.pipewire.desktop
	LIVECOMP_GUEST=1 $(bin)/python -m pytest -k "guest or browser or pipewire" tests/v4l2 tests/pipewire

check: $(extra)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

# An older Python would make an environment into which nothing can be installed, and Debian's without python3-venv leaves one
# without pip; both would be taken for finished from then on.
$(bin)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "expected Python 3.11 or newer, as in: make demo PYTHON=python3.12; received:"; $(PYTHON) --version; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -f $@; exit 1; }

$(base): pyproject.toml | $(bin)/python
	$(bin)/python -m pip install --quiet --editable .
	touch $@

$(extra): pyproject.toml constraints.txt | $(bin)/python
	$(bin)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@ $(base)

clean:
	rm -rf $(VENV) build dist demo-out .mypy_cache .ruff_cache .pytest_cache
