"""What the tests with real parts are made of: numbered pictures, archives, modules, a browser that is not there."""

from __future__ import annotations

import lzma
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from livecomp.composite.slate import make_slate
from livecomp.frame import U8Array
from livecomp.media.video import VideoReader
from tests.v4l2.browser.marks import NUMBERS, draw_number, read_number, write_numbered_video
from tests.v4l2.browser.viewer import PROGRAM, Viewer, ViewerError
from tests.v4l2.guest import parts
from tests.v4l2.guest.kernel import find_modules, newc_archive, unpack_kernel


@pytest.mark.parametrize("size_wh", [(640, 360), (320, 180), (158, 90)])
@pytest.mark.parametrize("number", [0, 1, 4711, NUMBERS - 1])
def test_a_number_is_read_as_it_was_drawn(size_wh: tuple[int, int], number: int) -> None:
    rgb = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
    draw_number(rgb, number)
    assert read_number(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)) == (number, number)


def test_a_torn_picture_has_two_numbers_and_a_plain_one_none() -> None:
    upper, lower = np.zeros((2, 180, 320, 3), np.uint8)
    assert read_number(upper[..., 0]) is None
    draw_number(upper, 7)
    draw_number(lower, 8)
    upper[90:] = lower[90:]
    assert read_number(upper[..., 0]) == (7, 8)


def test_a_numbered_video_counts(tmp_path: Path) -> None:
    path = tmp_path / "scene.mp4"
    write_numbered_video(path, size_wh=(320, 180), fps=60, seconds=0.5)
    reader = VideoReader(path, threads=1)
    reader.open()
    numbers = []
    while (shown := reader.advance()) is not None:
        numbers.append(read_number(cv2.cvtColor(reader.convert(shown[0]), cv2.COLOR_RGB2GRAY)))
    reader.close()
    assert numbers == [(number, number) for number in range(30)]
    with pytest.raises(ValueError, match="too many"):
        write_numbered_video(path, size_wh=(320, 180), fps=60, seconds=300)


@pytest.mark.v4l2
@pytest.mark.timeout(120)
def test_a_browser_tells_composites_torn_ones_slates_and_the_room_apart(tmp_path: Path) -> None:
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed: run make test-v4l2, which gets it")
    size_wh = 320, 180
    whole = np.full((180, 320, 3), (58, 44, 92), np.uint8)
    draw_number(whole, 7)
    torn = whole.copy()
    draw_number(torn, 8)
    torn[:90] = whole[:90]
    leaking = whole.copy()
    leaking[100:104, 100:110] = (0, 255, 0)
    room = np.full((180, 320, 3), (0, 255, 0), np.uint8)
    shown = {"whole": whole, "torn": torn, "leaking": leaking, "slate": make_slate(size_wh, 0).rgb, "room": room}
    camera, found = tmp_path / "camera.y4m", {}
    write_only_frame(camera, whole)
    with Viewer("camera", size_wh=size_wh, fake_camera=camera) as viewer:
        viewer.wait_for("loaded", 60)
        viewer.choose(60)
        for name, rgb in shown.items():
            write_only_frame(camera, rgb)
            count = len(viewer.seen())
            # those that were on their way are of before
            viewer.wait_until(lambda count=count: len(viewer.seen()) >= count + 12, 30, name)
            found[name] = viewer.seen()[-1]
        assert viewer.picture(30).startswith(b"\x89PNG")
    kinds = {name: (frame.kind, frame.number, frame.is_torn) for name, frame in found.items()}
    assert kinds == {
        "whole": ("composite", 7, False),
        "torn": ("composite", 7, True),
        "leaking": ("composite", 7, False),
        "slate": ("slate", None, False),
        "room": ("other", None, False),
    }
    assert {name for name, frame in found.items() if frame.room} == {"leaking", "room"}
    assert found["room"].room == 320 * 180


def write_only_frame(path: Path, rgb: U8Array) -> None:
    """A video of one picture, rewritten in place: Chromium reads it again and again."""
    height, width = rgb.shape[:2]
    header = f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\nFRAME\n".encode()
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(header + np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8).tobytes())


def test_an_archive_is_laid_out_as_the_kernel_reads_it() -> None:
    archive, entries, at = newc_archive({"init": b"#!/bin/sh\n", "a/b/odd.ko": b"12345"}), {}, 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        name_end = at + 110 + fields[11]
        start = (name_end + 3) // 4 * 4
        entries[archive[at + 110 : name_end - 1].decode()] = archive[start : start + fields[6]]
        at = (start + fields[6] + 3) // 4 * 4
    assert list(entries) == ["a", "a/b", "dev", "dev/console", "init", "a/b/odd.ko", "TRAILER!!!"]
    assert entries["a/b/odd.ko"] == b"12345"


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    for name, needs in {"top": "middle-one,other", "middle-one": "base", "base": "", "other": ""}.items():
        (tmp_path / f"{name}.ko").write_bytes(b"\x7fELF\0depends=" + needs.encode() + b"\0license=GPL\0")
    found = [path.stem for path in find_modules(tmp_path, ["top", "built_in", "base"])]
    assert found == ["base", "middle-one", "other", "top"]


def test_a_kernel_is_found_behind_its_loader() -> None:
    kernel = b"\x7fELF" + bytes(1000)
    assert unpack_kernel(b"loader \xfd7zXZ\x00 not this" + lzma.compress(kernel) + b"tail") == kernel
    assert unpack_kernel(b"no xz here") == b"no xz here"


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.platform, "freedesktop_os_release", lambda: {"ID": "arch", "PRETTY_NAME": "Arch Linux"})
    with pytest.raises(parts.MissingError, match="Arch Linux"):
        parts.get_parts(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ViewerError, match="not installed"), Viewer("any", size_wh=(64, 64)):
        pass
