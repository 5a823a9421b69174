"""Get what the guest boots from: a Debian kernel, its media modules, v4l2loopback built for it, busybox.

    python -m tests.v4l2.guest.parts [FOLDER]

Programs (qemu, v4l2-ctl, Chromium) are installed by apt where they are missing; the kernel and everything of its own
is only unpacked into a folder. All of it is kept, so the second call does nothing. Nothing here is tied to a version
but the layout of Debian's kernel packages, checked with Debian 12 and 13.

LIVECOMP_GUEST_DRIVER names a folder with the sources of another v4l2loopback than that of Debian's package.
"""

from __future__ import annotations

import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath

from tests.packages import MissingError, check_debian, install_programs, run, run_apt
from tests.v4l2.guest.kernel import unpack_kernel

__all__ = ["GuestParts", "default_folder", "get_parts"]

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "v4l2-ctl": "v4l-utils",
    "chromium-headless-shell": "chromium-headless-shell",
    "gcc": "gcc",
    "make": "make",
    "strip": "binutils",
}
"""What must be in the path, and the package it comes from."""

_COMPLETE = "complete with USB"
_WANTED_MODULES = (
    "drivers/media/*",
    "drivers/net/dummy.ko*",
    "drivers/usb/*",
    "drivers/virtio/*",
    "fs/9p/*",
    "fs/fscache/*",
    "fs/netfs/*",
    "fs/overlayfs/*",
    "net/9p/*",
)


@dataclass(frozen=True, slots=True)
class GuestParts:
    """Files that a guest boots from.

    Args:
        kernel: Boots in QEMU.
        modules: Folder with the kernel's modules, v4l2loopback among them.
        busybox: The program, statically linked.
        driver_version: Of v4l2loopback; empty when it does not tell, as 0.12.7.
    """

    kernel: Path
    modules: Path
    busybox: Path
    driver_version: str


def default_folder() -> Path:
    """Where parts are kept: LIVECOMP_GUEST_CACHE, or .cache/guest in the checkout."""
    return Path(os.environ.get("LIVECOMP_GUEST_CACHE") or Path(__file__).parents[3] / ".cache" / "guest").absolute()


def get_parts(folder: Path | None = None) -> GuestParts:
    """Fetch what is missing.

    Args:
        folder: Where to keep it; `default_folder` unless given.

    Raises:
        MissingError: This is no Debian on x86-64, the user may not install, or apt or a compiler fails.
    """
    folder = folder or default_folder()
    _check_computer()
    install_programs(PROGRAMS)
    release = _newest_kernel()
    driver = Path(os.environ["LIVECOMP_GUEST_DRIVER"]) if os.environ.get("LIVECOMP_GUEST_DRIVER") else None
    ready = folder / (f"{release}-{driver.name}" if driver else release)
    if not (ready / _COMPLETE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as made:
            _make(Path(made), release, driver)
            shutil.rmtree(ready, ignore_errors=True)
            (Path(made) / "ready").rename(ready)
        (ready / _COMPLETE).touch()
    return _parts(ready)


def _parts(ready: Path) -> GuestParts:
    told = re.search(rb"\0version=([^\0]+)", (ready / "modules/v4l2loopback.ko").read_bytes())
    return GuestParts(ready / "vmlinux", ready / "modules", ready / "busybox", told[1].decode() if told else "")


def _check_computer() -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise MissingError(f"the guest needs Linux on x86-64, this is {sys.platform} on {platform.machine()}")
    check_debian()


def _newest_kernel() -> str:
    """Release of the kernel that Debian's newest stable image package brings."""
    for is_last in (False, True):
        depends = run("apt-cache", "depends", "linux-image-amd64")
        if match := re.search(r"Depends: linux-image-(\S+)", depends):
            return match[1]
        if not is_last:
            run("apt-get", "update", "-q")
    raise MissingError("apt knows no linux-image-amd64: are Debian's main packages among its sources?")


def _make(folder: Path, release: str, driver: Path | None) -> None:
    """Download, unpack and build in `folder`; the result is its subfolder `ready`."""
    headers = f"linux-headers-{release}"
    needed = re.findall(r"Depends: (linux-(?:headers|kbuild)-\S+)", run("apt-cache", "depends", headers))
    kernel = f"linux-image-{release}"
    packages = [kernel, headers, *needed, "v4l2loopback-dkms", "busybox-static"]
    run_apt("download", *packages, cwd=folder)
    debs = {path.name.partition("_")[0]: path for path in folder.glob("*.deb")}
    ready, build = folder / "ready", folder / "build"
    for made in (ready / "modules", build):
        made.mkdir(parents=True)

    wanted = [f"*/lib/modules/{release}/kernel/{name}" for name in _WANTED_MODULES]
    for name, content in _files(debs[kernel], f"*/boot/vmlinuz-{release}", *wanted):
        if name.name.startswith("vmlinuz"):
            (ready / "vmlinux").write_bytes(unpack_kernel(content))
        elif name.suffix == ".xz":
            (ready / "modules" / name.stem).write_bytes(lzma.decompress(content))
        else:
            (ready / "modules" / name.name).write_bytes(content)
    for _, content in _files(debs["busybox-static"], "*/bin/busybox"):
        (ready / "busybox").write_bytes(content)
    if missing := [name for name in ("vmlinux", "busybox") if not (ready / name).exists()]:
        raise MissingError(f"Debian's packages hold no {' and no '.join(missing)} where they used to")

    for package in (headers, *needed, "v4l2loopback-dkms"):
        run("dpkg", "-x", str(debs[package]), str(build))
    if driver is None:
        driver = next((build / "usr/src").glob("v4l2loopback-*"))
    else:
        driver = Path(shutil.copytree(driver, build / "driver"))
    shutil.copy2(_build_module(driver, build / "usr/src", release), ready / "modules")


def _build_module(module: Path, sources: Path, release: str) -> Path:
    """Build v4l2loopback against unpacked headers; nothing of the computer's own is touched."""
    headers = sources / f"linux-headers-{release}"
    makefile = headers / "Makefile"
    text = makefile.read_text()
    makefile.write_text(re.sub(r"^include /usr/src/", f"include {sources}/", text, flags=re.MULTILINE))
    # type information for tracers would need pahole
    run("make", "-s", "-C", str(headers), f"M={module}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules")
    return module / "v4l2loopback.ko"


def _files(package: Path, *patterns: str) -> Iterator[tuple[PurePath, bytes]]:
    """Plain files in a package whose names, which begin with "./", match a pattern."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive,
    ):
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and any(fnmatch(member.name, pattern) for pattern in patterns):
                yield PurePath(member.name), content.read()


def main() -> None:
    """Fetch, and say where it is."""
    try:
        parts = get_parts(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None)
    except MissingError as error:
        sys.exit(str(error))
    sys.stdout.write(f"kernel, modules and busybox are in {parts.kernel.parent}\n")


if __name__ == "__main__":
    main()
