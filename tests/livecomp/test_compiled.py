from __future__ import annotations

import importlib
import os
import shutil
import stat
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

from livecomp import compiled as module
from livecomp.compiled import cache_folder, compiled


def plus_one(values: np.ndarray) -> float:
    return values.sum() + 1.0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(module, "user_cache_path", lambda name: tmp_path / name)
    module._note_use.cache_clear()
    module._tell.cache_clear()
    return tmp_path / "livecomp" / "numba"


def test_code_is_kept_in_a_folder_of_the_user_alone(cache: Path) -> None:
    cache.mkdir(parents=True, mode=0o755)
    assert compiled()(plus_one)(np.ones(3)) == 4
    assert list(cache.rglob("*.nbi"))
    assert not list(Path(__file__).parent.rglob("test_compiled.plus_one*.nbi"))
    assert numba.config.CACHE_DIR == ""
    if os.name == "posix":
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_without_a_folder_it_compiles_all_the_same(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert cache_folder() is None
    assert compiled()(plus_one)(np.ones(3)) == 4


def test_without_a_home_it_compiles_all_the_same(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(_: str) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(module, "user_cache_path", no_home)
    assert cache_folder() is None
    assert compiled()(plus_one)(np.ones(3)) == 4
    assert not cache.exists()


@pytest.mark.skipif(os.name != "posix", reason="owners are a matter of POSIX")
def test_a_folder_of_somebody_else_is_not_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(parents=True)
    assert cache_folder() == cache
    monkeypatch.setattr(os, "getuid", lambda: cache.stat().st_uid + 1)
    assert cache_folder() is None


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 20])
def test_what_is_damaged_is_compiled_and_kept_anew(
    cache: Path, caplog: pytest.LogCaptureFixture, suffix: str, left: int
) -> None:
    compiled()(plus_one)(np.ones(3))
    (kept,) = cache.rglob(f"*.{suffix}")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:left])
    assert compiled()(plus_one)(np.ones(3)) == 4
    assert "cannot be read and are compiled again" in caplog.text
    again = compiled()(plus_one)
    assert again(np.ones(3)) == 4
    assert sum(again.stats.cache_hits.values()) == 1


def test_what_cannot_be_kept_is_compiled_all_the_same_and_told_once(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = compiled()(plus_one), compiled(fastmath=True)(plus_one)
    shutil.rmtree(cache)
    cache.write_text("a file where the folder was")
    assert first(np.ones(3)) == second(np.ones(3)) == 4
    assert caplog.text.count("cannot be kept there and are compiled at each start") == 1


def test_two_processes_that_keep_loops_at_once_keep_both_apart(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatchers = [compiled()(plus_one) for _ in range(2)]
    for function, dtype in zip(dispatchers, (np.float32, np.float64), strict=True):
        assert function(np.ones(3, dtype)) == 4
    for path in (*cache.rglob("*.nbi"), *cache.rglob("*.nbc")):
        path.unlink()
    files = type(dispatchers[0]._cache._cache_file)
    save_index = files._save_index

    def save_slowly(self: object, overloads: dict[object, str]) -> None:
        time.sleep(0.2)
        save_index(self, overloads)

    monkeypatch.setattr(files, "_save_index", save_slowly)
    with ThreadPoolExecutor(2) as pool:  # each has a descriptor of its own for the lock, as processes have
        for function in dispatchers:
            ((signature, result),) = function.overloads.items()
            pool.submit(function._cache.save_overload, signature, result)
    kept = dispatchers[0]._cache._cache_file._load_index()
    assert len(kept) == len(set(kept.values())) == 2
    again = compiled()(plus_one)
    for dtype in (np.float32, np.float64):
        assert again(np.ones(3, dtype)) == 4
    assert sum(again.stats.cache_hits.values()) == 2


def test_the_users_own_setting_goes_first(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "own"))
    compiled()(plus_one)(np.ones(3))
    assert list((tmp_path / "own").rglob("*.nbi"))
    assert not cache.exists()


def aged(folder: Path, days: float) -> Path:
    """A folder of loops that was used so long ago, with files used today."""
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "kernels.nbi").write_bytes(b"")
    used = time.time() - days * 86400
    os.utime(folder, (used, used))
    return folder


def test_loops_of_other_versions_go_when_nobody_has_used_them_for_long(cache: Path) -> None:
    gone = [aged(cache / (name * 16), 31) for name in "ab"]
    kept = [aged(cache / name, days) for name, days in (("c" * 16, 29), ("notes", 99), ("d" * 15, 99))]
    elsewhere = aged(cache.parent / ("e" * 16), 99)
    if os.name == "posix":
        (cache / ("f" * 16)).symlink_to(elsewhere, target_is_directory=True)
    assert compiled()(plus_one)(np.ones(3)) == 4
    assert not any(folder.exists() for folder in gone)
    assert all(list(folder.rglob("*.nbi")) for folder in [*kept, elsewhere])
    assert len(list(cache.glob("*/*/*plus_one*.nbi"))) == 1


def test_a_version_in_use_is_dated_and_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = aged(cache / module._digest(Path(__file__).parent), 99)
    compiled()(plus_one)
    assert time.time() - own.stat().st_mtime < 3600
    assert (own / "package" / "kernels.nbi").exists()
    module._note_use.cache_clear()
    monkeypatch.setattr(module, "_digest", lambda folder: "0" * 16)
    compiled()(plus_one)
    assert own.exists()


def test_nothing_is_removed_from_a_folder_of_the_users_choice(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = aged(tmp_path / "own" / ("a" * 16), 99)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "own"))
    compiled()(plus_one)
    assert other.exists()


def test_a_folder_that_goes_while_its_loops_are_in_use_is_made_again(cache: Path) -> None:
    function = compiled()(plus_one)
    assert function(np.ones(3)) == 4
    shutil.rmtree(cache)
    assert function(np.ones(3)) == 4
    assert function(np.ones(3, np.float32)) == 4
    assert list(cache.rglob("*.nbi"))


def test_a_change_in_what_is_called_is_noticed(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two modules only the inner one changes: what the outer one was compiled to is out of date all the same."""
    monkeypatch.syspath_prepend(tmp_path / "modules")
    (tmp_path / "modules").mkdir()
    inner, outer = (tmp_path / "modules" / f"{name}.py" for name in ("called_kernel", "calling_kernel"))
    head = "from livecomp.compiled import compiled\n"
    call = "@compiled()\ndef total(x):\n    return more(x)\n"
    outer.write_text(f"{head}from called_kernel import more\n{call}")
    for expected in (4.0, 5.0):
        inner.write_text(f"{head}@compiled()\ndef more(x):\n    return x.sum() + {expected - 3}\n")
        module._digest.cache_clear()
        for name in ("called_kernel", "calling_kernel"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        assert importlib.import_module("calling_kernel").total(np.ones(3)) == expected
    assert len(list(cache.rglob("*total*.nbi"))) == 2


def test_two_versions_of_numba_keep_loops_beside_each_other(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (numba.__version__, "0.0.1"):
        with monkeypatch.context() as patch:
            patch.setattr(numba, "__version__", version)
            module._digest.cache_clear()
            assert compiled()(plus_one)(np.ones(3)) == 4
    module._digest.cache_clear()
    again = compiled()(plus_one)
    assert again(np.ones(3)) == 4
    assert sum(again.stats.cache_hits.values()) == 1
