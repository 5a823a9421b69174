from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from livecomp.control.watch import FileWatcher
from tests.livecomp.live.fakes import eventually


class Watched:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.toml"
        self.path.write_text("a = 1\n")
        self.contents: list[str] = []
        self.refusals = 0
        self.watcher = FileWatcher(self.path, self.changed)
        self.watcher.start()
        time.sleep(0.1)

    def changed(self, path: Path) -> bool:
        self.contents.append(path.read_text() if path.exists() else "gone")
        return len(self.contents) > self.refusals


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    found = Watched(tmp_path)
    yield found
    found.watcher.stop()


def in_place(path: Path) -> None:
    path.write_text("a = 2\n")


def replaced(path: Path) -> None:
    other = path.with_name("config.toml.new")
    other.write_text("a = 2\n")
    other.rename(path)


def kept_in_a_backup(path: Path) -> None:
    path.rename(path.with_name("config.toml~"))
    path.write_text("a = 2\n")


@pytest.mark.parametrize("edit", [in_place, replaced, kept_in_a_backup])
def test_every_way_of_saving_is_noticed_once_and_soon(watched: Watched, edit: Callable[[Path], None]) -> None:
    start = time.monotonic()
    edit(watched.path)
    assert eventually(lambda: bool(watched.contents), 2)
    assert time.monotonic() - start < 0.5
    time.sleep(0.2)
    assert watched.contents == ["a = 2\n"]


def test_a_change_that_was_not_followed_is_told_again_until_it_is(watched: Watched) -> None:
    watched.refusals = 2
    in_place(watched.path)
    assert eventually(lambda: len(watched.contents) == 3, 2)
    time.sleep(0.2)
    assert watched.contents == 3 * ["a = 2\n"]


def test_a_file_that_is_written_slowly_is_read_when_it_is_whole(watched: Watched) -> None:
    with watched.path.open("w") as stream:
        for line in range(10):
            stream.write(f"k{line} = {line}\n")
            stream.flush()
            time.sleep(0.01)
    assert eventually(lambda: bool(watched.contents), 2)
    time.sleep(0.2)
    assert watched.contents[-1].count("\n") == 10


def test_a_touch_is_no_change_and_deletion_and_return_are(watched: Watched) -> None:
    os.utime(watched.path)
    time.sleep(0.2)
    assert watched.contents == []
    watched.path.unlink()
    assert eventually(lambda: watched.contents == ["gone"])
    watched.path.write_text("a = 1\n")
    assert eventually(lambda: watched.contents == ["gone", "a = 1\n"])


def test_stopping_twice_is_harmless(watched: Watched) -> None:
    watched.watcher.stop()
    watched.watcher.stop()
    in_place(watched.path)
    time.sleep(0.2)
    assert watched.contents == []
