"""A model file, read once: what is hashed is what is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ModelFileError

__all__ = ["MAX_BYTES", "ModelFile"]

MAX_BYTES = 2**31 - 1
"""Largest protobuf message, and so the largest ONNX file."""

_IR_VERSION_TAG = b"\x08"
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An ONNX model in memory. Weights outside the file are never followed, since no hash would cover them.

    Args:
        path: Where it was read from; for messages only.
        data: The whole file.
        sha256: Of `data`, in hexadecimal.
    """

    path: Path
    data: bytes
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Read and hash a file, after a look at its size and first bytes.

        Raises:
            ModelFileError: It is missing, unreadable, empty, over 2 GiB, or plainly no ONNX model.
        """
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise ModelFileError(f"{path} has {size} bytes; an ONNX file has at most {MAX_BYTES}")
            data = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"the model {path} cannot be read: {error.strerror or error}") from error
        if not data:
            raise ModelFileError(f"{path} is empty; expected an ONNX model")
        if data.startswith(_LFS_POINTER):
            raise ModelFileError(f"{path} is a Git LFS pointer, not the model; run `git lfs pull`")
        if not data.startswith(_IR_VERSION_TAG):
            raise ModelFileError(f"{path} is no ONNX model: it starts with {data[:8]!r}, expected the field ir_version")
        return cls(path, data, hashlib.sha256(data).hexdigest())
