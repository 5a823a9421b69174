"""The guest's kernel and first files: unpack a bzImage, find modules with all they need, write an initramfs."""

from __future__ import annotations

import lzma
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["find_modules", "newc_archive", "unpack_kernel"]

_XZ = b"\xfd7zXZ\x00"
_CONSOLE = (5, 1)


def unpack_kernel(bzimage: bytes) -> bytes:
    """The uncompressed kernel inside a bzImage, which QEMU boots directly: unpacking it while emulating takes 4 s.

    Kernels that are not compressed by xz are returned as they are; QEMU boots those too.
    """
    start = bzimage.find(_XZ)
    while start >= 0:
        try:
            kernel = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(bzimage[start:])
        except lzma.LZMAError:
            kernel = b""
        if kernel.startswith(b"\x7fELF"):
            return kernel
        start = bzimage.find(_XZ, start + 1)
    return bzimage


def find_modules(root: Path, names: Iterable[str]) -> list[Path]:
    """Files of kernel modules and of all they depend on, in the order in which they can be loaded.

    Args:
        root: Folder that holds them, at any depth.
        names: Wanted modules; one without a file is taken to be built into the kernel.
    """
    files = {path.stem.replace("-", "_"): path for path in root.rglob("*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name.replace("-", "_"))
        if path is None or path in order:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for needed in depends[1].decode().split(",") if depends else ():
            add(needed)
        order.append(path)

    for name in names:
        add(name)
    return order


def newc_archive(files: Mapping[str, bytes]) -> bytes:
    """A cpio archive of programs, in the format "newc", that a kernel unpacks as its first file system.

    Args:
        files: Content by path; every file may be executed. Their folders, /dev and /dev/console are added.
    """
    folders = {parent.as_posix() for name in files for parent in Path(name).parents} - {"."} | {"dev"}
    archive = bytearray()
    for name in sorted(folders):
        archive += _entry(name, stat.S_IFDIR | 0o755)
    # the first program has a console before it mounts /dev
    archive += _entry("dev/console", stat.S_IFCHR | 0o600, device=_CONSOLE)
    for name, content in files.items():
        archive += _entry(name, stat.S_IFREG | 0o755, content)
    return bytes(archive + _entry("TRAILER!!!", 0))


def _entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Inode 0 for all: nothing is hard-linked."""
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
