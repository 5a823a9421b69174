"""A model file, read once: what is hashed is what is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ModelFileError

__all__ = ["MAX_BYTES", "ModelFile"]

MAX_BYTES = 2**31 - 1
"""Largest protobuf message, and so the largest ONNX file."""

_LFS_POINTER = b"version https://git-lfs"
OPSETS = range(7, 29)
"""Versions of ONNX's own operators that are read; a runtime meeting a newer one may guess."""

_IR_VERSION, _GRAPH, _OPSET, _METADATA = 1, 7, 8, 14
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_TENSOR_NAME = 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_HOLDERS = {
    "model": {_GRAPH: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
"""Messages that hold tensors: what lies in which of their fields."""
_DATA_LOCATION = 14
"""Field of a tensor; not 0 where the values are in another file."""


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
    def of(cls, data: bytes, name: str) -> ModelFile:
        """A model that was made in memory; `name` stands for the path in messages."""
        return cls(Path(name), data, hashlib.sha256(data).hexdigest())

    @classmethod
    def read(cls, path: Path | ModelFile) -> ModelFile:
        """Read and hash a file, after a look at its size and its outermost structure; one in memory is as it is.

        Raises:
            ModelFileError: It is missing, unreadable, empty, over 2 GiB, cut off, no ONNX model, or has weights in
                another file.
        """
        if isinstance(path, ModelFile):
            return path
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
        try:
            found = {number for number, _ in _fields(memoryview(data))}
            opset = _opset(data)
            is_whole = not _has_values_elsewhere(data)
        except ValueError as error:
            raise ModelFileError(f"{path} is no ONNX model, or was cut off: {error}") from error
        if not {_IR_VERSION, _GRAPH} <= found:
            raise ModelFileError(f"{path} is no ONNX model: it has no IR version or no graph")
        if opset not in OPSETS:
            raise ModelFileError(f"{path} uses ONNX opset {opset}, expected {OPSETS.start} to {OPSETS.stop - 1}")
        if not is_whole:
            raise ModelFileError(f"{path} has weights in other files, which are not followed; save it as a single file")
        return cls(path, data, hashlib.sha256(data).hexdigest())

    def metadata(self) -> dict[str, str]:
        """The model's own notes about itself, by key."""
        entries: dict[str, str] = {}
        for number, value in _fields(memoryview(self.data)):
            if number == _METADATA:
                pair = dict(_fields(value))
                empty = memoryview(b"")
                key, text = (bytes(pair.get(i, empty)).decode("utf-8", "replace") for i in (1, 2))
                entries[key] = text
        return entries

    def tensor_names(self) -> frozenset[str]:
        """Names of the graph's inputs and outputs, which a backend may know under further names."""
        return self._names(_GRAPH_INPUT, 1) | self._names(_GRAPH_OUTPUT, 1)

    def input_names(self) -> frozenset[str]:
        """Names of what has to be fed: the graph's inputs, but those whose values are in the file."""
        return self._names(_GRAPH_INPUT, 1) - self._names(_GRAPH_INITIALIZER, _TENSOR_NAME)

    def _names(self, kind: int, name: int) -> frozenset[str]:
        """Names of the graph's fields of one kind, which each has in its field `name`."""
        return frozenset(
            bytes(dict(_fields(value)).get(name, b"")).decode("utf-8", "replace")
            for number, graph in _fields(memoryview(self.data))
            if number == _GRAPH
            for field, value in _fields(graph)
            if field == kind
        )


def _opset(data: bytes) -> int:
    """Version of ONNX's own operators; 0 if the model does not say."""
    version = 0
    for number, entry in _fields(memoryview(data)):
        if number == _OPSET:
            pair = dict(_fields(entry))
            if bytes(pair.get(1, b"")) in (b"", b"ai.onnx") and 2 in pair:
                version = _varint(pair[2], 0)[0]
    return version


def _has_values_elsewhere(data: bytes) -> bool:
    """Whether a tensor's values are in another file; most runtimes would look for that where the process runs."""
    left = [("model", memoryview(data))]
    while left:
        kind, message = left.pop()
        for number, value in _fields(message):
            if kind == "tensor":
                if number == _DATA_LOCATION and _varint(value, 0)[0]:
                    return True
            elif number in _HOLDERS[kind]:
                left.append((_HOLDERS[kind][number], value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field of a protobuf message, outermost level only.

    Raises:
        ValueError: A field runs past the end, or is of a kind that protobuf does not have.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            end = _varint(message, position)[1]
        elif kind == _BYTES:
            length, position = _varint(message, position)
            end = position + length
        elif kind in (_FIXED32, _FIXED64):
            end = position + (4 if kind == _FIXED32 else 8)
        else:
            raise ValueError(f"the byte at {position - 1} starts no protobuf field")
        if number == 0 or end > len(message):
            raise ValueError(f"field {number} ends at byte {end} of {len(message)}")
        yield number, message[position:end]
        position = end


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A variable-length integer and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("the file ends within a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number has more than ten bytes")
