"""Which cameras there are, what they can, and why one cannot be used."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2

from livecomp.capture.negotiate import Mode
from livecomp.capture.pipewire import list_nodes
from livecomp.errors import InputError, reason
from livecomp.media.packed import FORMATS

if sys.platform == "linux":
    import grp

    from livecomp.capture import v4l2

__all__ = ["CameraInfo", "busy_text", "find_again", "find_camera", "has_v4l2", "list_cameras", "permission_text"]

_LOOPBACK = "v4l2 loopback"
_PROGRAM = "another program"
_PIPEWIRE = "pipewire:"
_PROBED = 8


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """One camera.

    Args:
        path: Its device, "/dev/video0"; "pipewire:" and its name there for one that only PipeWire can read; where
            there is no V4L2, its number.
        name: What it calls itself.
        stable_id: Name below /dev/v4l/by-id, or by-path, or in PipeWire, that it keeps when it is plugged in again;
            "" for none.
        driver: Name of its driver; "" when unknown.
        modes: What it can; empty when unknown.
        trouble: Why it cannot be used now and what to do, "" when it can.
    """

    path: str
    name: str
    stable_id: str = ""
    driver: str = ""
    modes: tuple[Mode, ...] = ()
    trouble: str = ""

    @property
    def number(self) -> int:
        """N of /dev/videoN."""
        digits = re.search(r"\d+$", self.path)
        return int(digits[0]) if digits else -1

    @property
    def is_virtual(self) -> bool:
        """Another program makes its pictures: perhaps this one."""
        return self.driver in (_LOOPBACK, _PROGRAM)

    @property
    def is_of_pipewire(self) -> bool:
        """It is reached through PipeWire."""
        return self.path.startswith(_PIPEWIRE)

    @property
    def is_usable(self) -> bool:
        """It has pictures that can be read, as far as is known."""
        return not self.trouble and any(mode.fourcc in ("", *FORMATS) for mode in self.modes)


def has_v4l2() -> bool:
    """Whether cameras are reached by V4L2 on this system."""
    return sys.platform.startswith("linux")


def list_cameras(root: Path = Path("/"), *, with_virtual: bool = False) -> list[CameraInfo]:
    """All cameras, in the order of their numbers, then those of PipeWire; nothing is taken from them.

    Where there is no V4L2, the first few numbers are tried with OpenCV, which tells neither names nor modes and lights
    the camera's lamp for a moment.

    Args:
        root: Where dev, sys and proc are; elsewhere than in / there is no PipeWire.
        with_virtual: Also those whose pictures another program makes, such as v4l2loopback's.
    """
    if not has_v4l2():
        return list(_probed())
    stable_ids = _stable_ids(root)
    found = []
    for path in _nodes(root):
        camera = _described(path, root, stable_ids.get(path.resolve(), ""))
        if camera is not None:
            found.append(camera)
    found += _of_pipewire(root)
    return [camera for camera in found if with_virtual or not camera.is_virtual]


def _of_pipewire(root: Path) -> list[CameraInfo]:
    nodes = list_nodes() if root == Path("/") else []
    return [
        CameraInfo(f"{_PIPEWIRE}{node.name}", node.label, node.name, node.interface or _PROGRAM, node.modes)
        for node in nodes
    ]


def find_camera(spec: str | int, root: Path = Path("/")) -> CameraInfo:
    """The camera that a user named.

    Args:
        spec: "auto" for the first that can be used, a number, a path, a stable id, or a part of the name.
        root: As for `list_cameras`.

    Raises:
        InputError: None is that, or several are; the message lists those that are there.
    """
    cameras = list_cameras(root, with_virtual=True)
    real = [camera for camera in cameras if not camera.is_virtual]
    known = ", ".join(f"{camera.name} ({camera.path})" for camera in real) or "none"
    wanted = str(spec)
    if wanted == "auto":
        if not real:
            raise InputError(f"there is no camera{_where(root)}; plug one in, or name a video file with --camera")
        return next((camera for camera in real if camera.is_usable), real[0])
    if wanted.isdecimal():
        matches = [camera for camera in cameras if camera.number == int(wanted)]
    elif wanted.startswith(_PIPEWIRE):
        matches = [camera for camera in cameras if camera.path == wanted]
    elif wanted.startswith("/"):
        target = Path(wanted).resolve()
        matches = [camera for camera in cameras if Path(camera.path).resolve() == target]
    else:
        matches = [camera for camera in cameras if wanted in (camera.stable_id, camera.name)]
        lower = wanted.lower()
        matches = matches or [camera for camera in real if lower in camera.name.lower()]
        if any(camera.is_usable and not camera.is_of_pipewire for camera in matches):  # libcamera may know it, too
            matches = [camera for camera in matches if not camera.is_of_pipewire]
    if len(matches) == 1:
        return matches[0]
    if matches:
        both = ", ".join(f"{camera.name} ({camera.stable_id or camera.path})" for camera in matches)
        raise InputError(f"{wanted!r} is the name of {len(matches)} cameras: {both}; give the path or id of one")
    raise InputError(f"there is no camera {wanted!r}; there are: {known}; plug it in, or name another with --camera")


def find_again(camera: CameraInfo, root: Path = Path("/")) -> CameraInfo | None:
    """The same camera as it is now, perhaps under another number; None while it is away.

    A camera without a stable id is known by its name, and among several of one name by its device.

    Args:
        camera: As it was.
        root: As for `list_cameras`.
    """
    if camera.is_of_pipewire:
        return next((other for other in _of_pipewire(root) if other.path == camera.path), None)
    if has_v4l2() and camera.stable_id:
        paths = [path for path, stable_id in _stable_ids(root).items() if stable_id == camera.stable_id]
        return _described(paths[0], root, camera.stable_id) if paths else None
    same = [other for other in list_cameras(root, with_virtual=True) if other.name == camera.name]
    return next((other for other in same if other.path == camera.path), same[0] if same else None)


def permission_text(path: Path | str) -> str:
    """What to tell somebody who may not open a device."""
    group = "video"
    try:
        owner = grp.getgrgid(Path(path).stat().st_gid).gr_name
        group = group if owner == "root" else owner
    except (OSError, KeyError):
        pass
    return (
        f"no permission to use {path}: it is for the group '{group}'; run: sudo usermod -aG {group} $USER, "
        "then log out and in again"
    )


def busy_text(camera: CameraInfo, root: Path = Path("/")) -> str:
    """What to tell somebody whose camera another program uses."""
    holders = ", ".join(_holders(Path(camera.path), root)) or "another program"
    return f"the camera {camera.name} ({camera.path}) is in use by {holders}; close it there, or name another camera"


def _where(root: Path) -> str:
    return "" if root == Path("/") else f" below {root}"


def _nodes(root: Path) -> list[Path]:
    folder = root / "sys/class/video4linux"
    names = [entry.name for entry in folder.glob("video*")] or [entry.name for entry in (root / "dev").glob("video*")]
    numbered = sorted((int(name[5:]), name) for name in names if name[5:].isdecimal())
    return [root / "dev" / name for _, name in numbered]


def _stable_ids(root: Path) -> dict[Path, str]:
    """Device to the name that stays; ids go before the places where they are plugged in."""
    found: dict[Path, str] = {}
    for kind in ("by-path", "by-id"):
        folder = root / "dev/v4l" / kind
        links = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
        found |= {link.resolve(): link.name for link in links}
    return found


def _described(path: Path, root: Path, stable_id: str) -> CameraInfo | None:
    """What a device is, None when it is no camera."""
    name_file = root / "sys/class/video4linux" / path.name / "name"
    name = name_file.read_text().strip() if name_file.is_file() else path.name
    try:
        device = v4l2.open_device(str(path))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
            return None
        denied = error.errno in (errno.EACCES, errno.EPERM)
        trouble = permission_text(path) if denied else f"cannot open {path}: {reason(error)}"
        return CameraInfo(str(path), name, stable_id, trouble=trouble)
    try:
        facts = v4l2.capabilities(device)
        if not facts.is_camera:
            return None
        camera = CameraInfo(str(path), facts.name, stable_id, facts.driver, tuple(v4l2.modes(device)))
        # any number of programs may read a virtual camera; and asking v4l2loopback 0.12.7 for buffers, even for none,
        # makes it forget those that a reader has mapped, whose stream fails then
        if camera.is_virtual or not v4l2.is_busy(device):
            return camera
        return CameraInfo(*_fields(camera), trouble=busy_text(camera, root))
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENOTTY):
            return None
        return CameraInfo(str(path), name, stable_id, trouble=f"{path} does not answer: {reason(error)}")
    finally:
        os.close(device)


def _fields(camera: CameraInfo) -> tuple[str, str, str, str, tuple[Mode, ...]]:
    return camera.path, camera.name, camera.stable_id, camera.driver, camera.modes


def _holders(path: Path, root: Path) -> list[str]:
    """Programs that have a device open, as far as this user may see: "name (process)"."""
    found = []
    for process in sorted((root / "proc").glob("[0-9]*")):
        if process.name == str(os.getpid()):
            continue
        try:
            if any(link.readlink() == path for link in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (process {process.name})")
        except OSError:  # another user's, or gone
            continue
    return found


def _probed() -> Iterator[CameraInfo]:
    for number in range(_PROBED):
        capture = cv2.VideoCapture(number)
        try:
            if not capture.isOpened():
                return
            size_wh = round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            fps = capture.get(cv2.CAP_PROP_FPS)
            rates = (Fraction(fps).limit_denominator(1001),) if fps > 0 else ()
            yield CameraInfo(str(number), f"camera {number}", modes=(Mode("", size_wh, rates),))
        finally:
            capture.release()
