from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from livecomp import models
from livecomp.errors import DependencyError, ModelError
from livecomp.models import MODELS, ModelSpec, list_models, model_path, models_folder

SHIPPED = sorted(name for name, spec in MODELS.items() if spec.install is None)


@pytest.fixture
def installable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network "toy" that the user installs; gives the place of its file, which is not there yet."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: tmp_path / name)
    toy = ModelSpec("toy.onnx", hashlib.sha256(b"toy").hexdigest(), 3, "tests", "MIT", "here", "livecomp setup toy")
    monkeypatch.setitem(MODELS, "toy", toy)
    return models_folder() / "toy.onnx"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_what_the_registry_says(name: str) -> None:
    path = model_path(name)
    content = path.read_bytes()
    assert len(content) == MODELS[name].size
    assert hashlib.sha256(content).hexdigest() == MODELS[name].sha256


def test_licence_and_notice_lie_beside_the_selfie_networks() -> None:
    folder = model_path("selfie_general").parent
    notice = (folder / "NOTICE").read_text()
    assert "Apache License" in (folder / "LICENSE.Apache-2.0.mediapipe").read_text()
    for name in ("selfie_general", "selfie_landscape"):
        assert MODELS[name].file in notice
    assert "mediapipe==0.10.21" in notice
    assert "converted from TFLite fp16 to ONNX fp32 NCHW" in notice


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"'nobody'; known are .*selfie_general"):
        model_path("nobody")


def test_what_is_not_installed_says_how_to_install_it(installable: Path) -> None:
    with pytest.raises(DependencyError, match="livecomp setup toy"):
        model_path("toy")
    assert {info.name: info.path for info in list_models()}["toy"] is None
    installable.parent.mkdir(parents=True)
    installable.write_bytes(b"toy")
    assert model_path("toy") == installable
    assert {info.name: info.path for info in list_models()}["toy"] == installable


def test_a_file_that_changes_is_verified_again(installable: Path) -> None:
    installable.parent.mkdir(parents=True)
    installable.write_bytes(b"toy")
    model_path("toy")
    installable.write_bytes(b"tampered")
    with pytest.raises(ModelError, match=r"8 bytes; delete it and run: livecomp setup toy"):
        model_path("toy")


def test_an_unchanged_file_is_hashed_once(installable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installable.parent.mkdir(parents=True)
    installable.write_bytes(b"toy")
    reads: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or read_bytes(self))
    for _ in range(3):
        model_path("toy")
    assert reads == [installable]


def test_a_damaged_shipped_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "selfie_general", replace(MODELS["selfie_general"], sha256="0" * 64))
    monkeypatch.setattr(models, "_verified", {})
    with pytest.raises(ModelError, match="install LiveComp again"):
        model_path("selfie_general")


def test_a_shipped_file_that_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "selfie_general", replace(MODELS["selfie_general"], file="gone.onnx"))
    with pytest.raises(DependencyError, match="ships with LiveComp"):
        model_path("selfie_general")


def test_everything_states_licence_origin_and_hash() -> None:
    for name, spec in MODELS.items():
        assert spec.licence, name
        assert spec.origin, name
        assert spec.purpose, name
        assert len(spec.sha256) == 64, name
        assert spec.size > 0, name
