from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.cache import HEADER, EngineCache, cache_key
from engine.cache import os as cache_os

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")

KEY = cache_key({"model": "m", "backend": "b"})


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "deep" / "engines")


class Builder:
    """Counts how often it builds."""

    def __init__(self, payload: bytes = b"engine") -> None:
        self.payload = payload
        self.built = 0

    def __call__(self) -> bytes:
        self.built += 1
        return self.payload


def test_key_depends_on_every_part() -> None:
    base = {"model": "m", "gpu": "g"}
    keys = {
        cache_key(base),
        cache_key({**base, "gpu": "h"}),
        cache_key({**base, "flag": ""}),
        cache_key({"model": "mg"}),
    }
    assert len(keys) == 4
    assert cache_key({"gpu": "g", "model": "m"}) == cache_key(base)


def test_built_once_then_loaded_and_private(cache: EngineCache) -> None:
    build = Builder()
    assert cache.get_or_build(KEY, build) == b"engine"
    assert cache.get_or_build(KEY, build) == b"engine"
    assert build.built == 1
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((cache.folder / KEY).stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", ["truncated", "altered", "appended", "empty", "renamed", "link", "mode"])
def test_a_damaged_or_foreign_file_is_rebuilt_with_a_warning(
    cache: EngineCache, damage: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    cache.store(KEY, b"true engine")
    path = cache.folder / KEY
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[:-1])
    elif damage == "altered":
        path.write_bytes(data[:HEADER] + b"fake engine")
    elif damage == "appended":
        path.write_bytes(data + b"x")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "renamed":  # a sound engine of something else
        cache.store(cache_key({"other": "1"}), b"other engine")
        path.write_bytes((cache.folder / cache_key({"other": "1"})).read_bytes())
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.unlink()
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.chmod(0o644)
    build = Builder(b"new engine")
    with caplog.at_level(logging.WARNING, "engine"):
        assert cache.get_or_build(KEY, build) == b"new engine"
    assert build.built == 1
    assert "will be built again" in caplog.text
    assert cache.load(KEY) == b"new engine"


def test_a_file_of_another_owner_is_not_loaded(
    cache: EngineCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store(KEY, b"engine")
    real = os.fstat

    def of_somebody_else(descriptor: int) -> os.stat_result:
        fields = list(real(descriptor))
        fields[stat.ST_UID] = os.getuid() + 1
        return os.stat_result(fields)

    monkeypatch.setattr(cache_os, "fstat", of_somebody_else)
    assert cache.load(KEY) is None
    assert f"it belongs to user {os.getuid() + 1}" in caplog.text


def test_an_open_folder_is_emptied_and_made_private(cache: EngineCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.store(KEY, b"engine")
    cache.folder.chmod(0o777)
    build = Builder(b"new engine")
    assert cache.get_or_build(KEY, build) == b"new engine"
    assert build.built == 1
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert "is made private" in caplog.text


def test_a_folder_that_is_a_link_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "engines").symlink_to(tmp_path / "target")
    build = Builder()
    assert EngineCache(tmp_path / "engines").get_or_build(KEY, build) == b"engine"
    assert list((tmp_path / "target").iterdir()) == []
    assert "cannot be kept" in caplog.text


def test_an_unwritable_place_works_uncached(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    build = Builder()
    cache = EngineCache(tmp_path / "file" / "engines")
    assert cache.get_or_build(KEY, build) == b"engine"
    assert cache.get_or_build(KEY, build) == b"engine"
    assert build.built == 2
    (told,) = caplog.messages
    assert told == f"engines cannot be kept in {cache.folder} (Not a directory); they are built at each start"


def test_without_a_home_engines_last_as_long_as_the_process(tmp_path: Path) -> None:
    program = (
        "import pwd\n"
        "def unknown(_): raise KeyError('uid not found')\n"
        "pwd.getpwuid = unknown\n"
        "from engine.cache import EngineCache, cache_key\n"
        "key = cache_key({'model': 'm'})\n"
        "assert EngineCache.default().get_or_build(key, lambda: b'engine') == b'engine'\n"
        "assert EngineCache.default().load(key) == b'engine'\n"
        "print(EngineCache.default().folder)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HOME" and not name.startswith("XDG_")}
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert Path(told.stdout).is_relative_to(tmp_path)
    assert told.stderr.count("engines are built at each start") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks_works_uncached(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_lock)
    assert cache.get_or_build(KEY, Builder()) == b"engine"
    assert cache.load(KEY) is None
    assert "No locks available" in caplog.text


def test_a_full_disk_works_uncached_and_leaves_nothing(
    cache: EngineCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_os, "fsync", full)
    assert cache.get_or_build(KEY, Builder()) == b"engine"
    assert "No space left on device" in caplog.text
    assert [path.name for path in cache.folder.iterdir()] == [f".{KEY}.lock"]


def test_a_failed_build_is_passed_on_and_keeps_nothing(cache: EngineCache) -> None:
    def fail() -> bytes:
        raise RuntimeError("no such operator")

    with pytest.raises(RuntimeError, match="no such operator"):
        cache.get_or_build(KEY, fail)
    assert cache.load(KEY) is None
    assert cache.get_or_build(KEY, Builder()) == b"engine"  # the lock is free again


def test_what_nobody_has_used_for_long_goes_when_something_new_is_kept(cache: EngineCache) -> None:
    used, unused = (cache_key({"model": name}) for name in ("used", "unused"))
    for key in (used, unused):
        cache.store(key, b"engine")
    left = cache.folder / f".{unused[:16]}-died"
    left.write_bytes(b"half an eng")
    long_ago = time.time() - 100 * 86400
    for path in cache.folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    assert cache.load(used) == b"engine"
    assert cache.get_or_build(KEY, Builder()) == b"engine"
    assert {path.name for path in cache.folder.iterdir()} == {used, KEY, f".{KEY}.lock"}


def _build_slowly(folder: str, log: str, start: float) -> None:
    def build() -> bytes:
        with Path(log).open("a") as file:
            file.write("built\n")
        time.sleep(0.4)
        return b"engine"

    time.sleep(max(0.0, start - time.time()))
    assert EngineCache(Path(folder)).get_or_build(KEY, build) == b"engine"


def test_of_several_processes_one_builds_and_the_others_wait(cache: EngineCache, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    start = time.time() + 1.5
    workers = [context.Process(target=_build_slowly, args=(str(cache.folder), str(log), start)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert log.read_text() == "built\n"


def test_a_builder_that_never_ends_is_not_waited_for_forever(
    cache: EngineCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cache.LOCK_WAIT_S", 0.1)
    with cache._lock(KEY) as locked:
        assert locked
        build = Builder()
        assert cache.get_or_build(KEY, build) == b"engine"
    assert build.built == 1
    assert cache.load(KEY) is None
    assert "it is built twice" in caplog.text
