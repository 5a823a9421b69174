"""What is found in a file tree without any device behind it; with devices it is tested in tests/v4l2."""

from __future__ import annotations

import grp
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from livecomp.capture.devices import CameraInfo, busy_text, find_camera, list_cameras, permission_text
from livecomp.errors import InputError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="V4L2 is Linux's")


def test_an_empty_tree_has_no_cameras(tmp_path: Path) -> None:
    assert list_cameras(tmp_path) == []
    with pytest.raises(InputError, match=r"there is no camera.*plug one in"):
        find_camera("auto", tmp_path)


def test_a_file_that_is_no_device_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/video0").write_text("no device")
    (tmp_path / "dev/video1").mkdir()
    (tmp_path / "dev/video-extra").touch()
    found = list_cameras(tmp_path)
    assert [camera.path for camera in found] == [str(tmp_path / "dev/video1")]
    assert "cannot open" in found[0].trouble


def test_permission_names_the_group_of_the_device(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    own = grp.getgrgid(device.stat().st_gid).gr_name
    group = "video" if own == "root" else own
    assert f"sudo usermod -aG {group} $USER" in permission_text(device)
    assert "sudo usermod -aG video $USER" in permission_text(tmp_path / "gone")


def test_busy_names_the_programs_that_have_it_open(tmp_path: Path) -> None:
    camera = CameraInfo("/dev/video5", "Desk")
    assert "in use by another program" in busy_text(camera, tmp_path)
    for process, name, device in (
        (12, "zoom", "/dev/video5"),
        (13, "vim", "/dev/null"),
        (os.getpid(), "me", "/dev/video5"),
    ):
        folder = tmp_path / f"proc/{process}"
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(f"{name}\n")
        (folder / "fd/3").symlink_to(device)
    assert "Desk (/dev/video5) is in use by zoom (process 12);" in busy_text(camera, tmp_path)


def test_call_numbers_and_layouts_are_those_of_the_kernel_headers(tmp_path: Path) -> None:
    v4l2 = pytest.importorskip("livecomp.capture.v4l2")
    names = ["QUERYCAP", "ENUM_FMT", "G_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "STREAMOFF"]
    names += ["G_PARM", "S_PARM", "ENUM_FRAMESIZES", "ENUM_FRAMEINTERVALS"]
    program = tmp_path / "numbers.c"
    lines = "".join(f'printf("%lu\\n", (unsigned long)VIDIOC_{name});' for name in names)
    offsets = [
        "struct v4l2_buffer, timestamp", "struct v4l2_buffer, sequence", "struct v4l2_buffer, m",
        "struct v4l2_buffer, length", "struct v4l2_format, fmt", "struct v4l2_format, fmt.pix.quantization",
    ]  # fmt: skip
    lines += "".join(f'printf("%zu\\n", offsetof({field}));' for field in offsets)
    program.write_text(
        "#include <linux/videodev2.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {" + lines + "}\n"
    )
    try:
        subprocess.run(["gcc", str(program), "-o", str(tmp_path / "numbers")], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("gcc is not installed")
    out = subprocess.run([tmp_path / "numbers"], check=True, capture_output=True, text=True).stdout
    told = [int(line) for line in out.split()]
    assert told[: len(names)] == [getattr(v4l2, f"_{name}") for name in names]
    ours = [
        struct.calcsize(layout)
        for layout in ("@5I0l", "@5Ill2I4B4s", "@5Ill2I4B4s2I", "@5Ill2I4B4s2IL", "@I0L", "@I0L10I")
    ]
    assert told[len(names) :] == ours
