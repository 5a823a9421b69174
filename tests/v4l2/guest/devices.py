"""The guest's two devices, vivid and v4l2loopback, as a test handles them: by the drivers' own controls and files."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

__all__ = ["CAMERA_ID", "DEVICE", "LABEL", "announces", "camera", "plug", "set_camera", "unplug", "uses_camera"]

CAMERA_ID = "platform-vivid.0-video-index0"
"""Name of the link that udev makes for it; there is no udev in the guest, so tests make the link."""

DEVICE = Path("/dev/video10")
LABEL = "LiveComp"

_DRIVER = Path("/sys/bus/platform/drivers/vivid")
_LINK = Path("/dev/v4l/by-path") / CAMERA_ID
_QUERYCAP, _S_CTRL = 0x80685600, 0xC008561C
_CONTROLS = {
    "test_pattern": 0x00F0F000,
    "osd_text_mode": 0x00F0F001,
    "show_square": 0x00F0F005,
    "percentage_of_dropped_buffers": 0x00F0F040,
}
_GREEN_ROOM = {"test_pattern": 8, "osd_text_mode": 2, "show_square": 1}


def camera() -> Path | None:
    """The camera's device, None while it is unplugged; another one than before when that was still open."""
    for entry in Path("/sys/class/video4linux").glob("video*"):
        if (entry / "name").read_text().startswith("vivid"):
            return Path("/dev") / entry.name
    return None


def set_camera(**controls: int) -> None:
    """Change controls of the camera."""
    device = camera()
    assert device is not None, "there is no camera"
    descriptor = os.open(device, os.O_RDWR)
    try:
        for name, value in controls.items():
            fcntl.ioctl(descriptor, _S_CTRL, struct.pack("Ii", _CONTROLS[name], value))
    finally:
        os.close(descriptor)


def plug() -> None:
    """Show a green room with a white square in it, and then make the link by which the camera is known."""
    if camera() is None:
        (_DRIVER / "bind").write_text("vivid.0")
    set_camera(**_GREEN_ROOM)
    device = camera()
    assert device is not None
    _LINK.parent.mkdir(parents=True, exist_ok=True)
    _LINK.symlink_to(f"../../{device.name}")


def unplug() -> None:
    """Take the camera away: node and link vanish, even while it is open."""
    (_DRIVER / "unbind").write_text("vivid.0")
    _LINK.unlink()


def announces() -> tuple[bool, bool]:
    """Whether the virtual camera says that it gives, and that it takes, pictures."""
    descriptor = os.open(DEVICE, os.O_RDWR)
    try:
        answer = bytearray(104)
        fcntl.ioctl(descriptor, _QUERYCAP, answer)
    finally:
        os.close(descriptor)
    capabilities = struct.unpack_from("I", answer, 88)[0]
    return bool(capabilities & 1), bool(capabilities & 2)


def uses_camera(process: int) -> bool:
    """Whether a process has the camera open."""
    device = camera()
    for entry in Path(f"/proc/{process}/fd").iterdir():
        try:
            if entry.readlink() == device:
                return True
        except FileNotFoundError:  # closed meanwhile
            continue
    return False
