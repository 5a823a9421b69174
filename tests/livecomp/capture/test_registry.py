from __future__ import annotations

import time
from pathlib import Path

import pytest

from livecomp.capture.camera import CameraSource
from livecomp.capture.demo import DemoSource
from livecomp.capture.looped import LoopedSource
from livecomp.capture.registry import open_camera, open_source
from livecomp.capture.still import StillSource
from livecomp.capture.synthetic import SyntheticSource
from livecomp.capture.video import VideoSource
from livecomp.errors import InputError
from livecomp.media.image import write_image
from tests.livecomp.clips import numbered_picture


def test_names_and_paths_find_their_source(tmp_path: Path) -> None:
    write_image(tmp_path / "a.PNG".lower(), numbered_picture(1))
    (tmp_path / "b.mp4").touch()
    (tmp_path / "noext").touch()
    assert isinstance(open_source("demo"), DemoSource)
    assert isinstance(open_source("synthetic"), SyntheticSource)
    assert isinstance(open_source(tmp_path / "a.png"), StillSource)
    assert isinstance(open_source(str(tmp_path / "b.mp4")), VideoSource)
    assert isinstance(open_source(tmp_path / "noext"), VideoSource)


def test_a_file_comes_before_a_built_in_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").touch()
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_source("demo"), VideoSource)


def test_unknown_names_list_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*nothing\.mp4 that you may read; expected .*'demo' or 'synthetic'"):
        open_source(tmp_path / "nothing.mp4")


def test_heif_pictures_are_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08mdat" + bytes(100))
    source = open_source(path)
    with pytest.raises(InputError):
        source.open()
    source.close()


def test_a_call_takes_a_camera_or_what_plays_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    for spec in ("demo", str(tmp_path / "a.mp4")):
        assert isinstance(open_camera(spec, size_wh=(64, 48), fps=30), LoopedSource)
    for spec in ("auto", "0", "Front Camera", "/dev/video0"):
        assert isinstance(open_camera(spec, size_wh=(64, 48), fps=30), CameraSource)


def test_what_is_wrong_with_what_plays_in_place_of_a_camera_is_seen_without_opening_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match="is empty"):
        open_camera(str(tmp_path / "a.mp4"), size_wh=(64, 48), fps=30).look()
    open_camera("synthetic", size_wh=(64, 48), fps=30).look()


def test_a_folder_is_no_camera(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; expected a camera, a video, a picture, demo or synthetic"):
        open_camera(str(tmp_path), size_wh=(64, 48), fps=30)


def test_a_video_in_place_of_a_camera_is_never_late() -> None:
    source = open_camera("synthetic", size_wh=(64, 48), fps=30)
    source.open()
    source.read()
    time.sleep(0.5)  # nobody reads
    frame = source.read()
    assert frame is not None
    assert time.monotonic_ns() - frame.pts_ns < 100_000_000
    following = source.read()
    assert following is not None
    assert following.pts_ns > frame.pts_ns
    source.close()
