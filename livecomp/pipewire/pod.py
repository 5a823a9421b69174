"""Plain old data of SPA, the binary form of everything that PipeWire negotiates.

After PipeWire's description of the format ("POD"): a head of size and type, 32 bits each in the machine's order, then
a body that is filled up to eight bytes.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable

__all__ = ["bytes_at", "flags_of", "fraction", "id_", "int_", "object_", "properties_of", "range_of", "rectangle"]

_ID, _INT, _RECTANGLE, _FRACTION, _OBJECT, _CHOICE = 3, 4, 10, 11, 15, 19
_RANGE, _FLAGS = 1, 4


def _pod(kind: int, body: bytes) -> bytes:
    return struct.pack("=II", len(body), kind) + body + bytes(-len(body) % 8)


def id_(value: int) -> bytes:
    """A member of one of PipeWire's enumerations."""
    return _pod(_ID, struct.pack("=I", value))


def int_(value: int) -> bytes:
    """A signed number of 32 bits."""
    return _pod(_INT, struct.pack("=i", value))


def rectangle(width: int, height: int) -> bytes:
    """Width and height."""
    return _pod(_RECTANGLE, struct.pack("=II", width, height))


def fraction(numerator: int, denominator: int) -> bytes:
    """A ratio, such as a rate in 1/s."""
    return _pod(_FRACTION, struct.pack("=II", numerator, denominator))


def range_of(usual: int, least: int, most: int) -> bytes:
    """Any number from `least` to `most`, preferably `usual`."""
    return _choice(_RANGE, usual, least, most)


def flags_of(value: int) -> bytes:
    """Any of the bits that are set."""
    return _choice(_FLAGS, value)


def _choice(kind: int, *values: int) -> bytes:
    """The values share one head."""
    return _pod(_CHOICE, struct.pack("=IIII", kind, 0, 4, _INT) + struct.pack(f"={len(values)}i", *values))


def object_(kind: int, id_number: int, properties: Iterable[tuple[int, bytes]]) -> bytes:
    """Properties by key; `kind` says what the keys mean, `id_number` what the object is for."""
    body = struct.pack("=II", kind, id_number)
    for key, value in properties:
        body += struct.pack("=II", key, 0) + value
    return _pod(_OBJECT, body)


def bytes_at(address: int) -> bytes:
    """A whole one that lies at an address."""
    return ctypes.string_at(address, 8 + ctypes.c_uint32.from_address(address).value)


def properties_of(pod: bytes) -> dict[int, tuple[int, ...]]:
    """The properties of an object by key, as their numbers of 32 bits: one of an id, two of a rectangle or a fraction.

    Of a choice, such as PipeWire makes even of a single value, it is the preferred one.

    Raises:
        ValueError: It is cut off, or no object.
    """
    try:
        size, kind = struct.unpack_from("=II", pod)
        if kind != _OBJECT or len(pod) < 8 + size:
            raise ValueError(f"expected an object of {size} bytes, received kind {kind} in {len(pod) - 8}")
        found = {}
        position, end = 16, 8 + size
        while position < end:
            key, _, length, kind = struct.unpack_from("=IIII", pod, position)
            start, position = position + 16, position + 16 + (length + 7) // 8 * 8
            if position > end:
                raise ValueError(f"cut off: a property of {length} bytes")
            if kind == _CHOICE:
                _, _, length, _ = struct.unpack_from("=IIII", pod, start)
                start += 16
            found[key] = struct.unpack_from(f"={length // 4}I", pod, start)
    except struct.error as error:
        raise ValueError(f"cut off: {error}") from error
    return found
