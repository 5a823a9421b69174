"""The binary form of what PipeWire negotiates."""

from __future__ import annotations

import ctypes
import struct

import pytest

from livecomp.pipewire import pod


def test_parameters_are_what_pipewires_own_builder_makes_of_them() -> None:
    # by spa_pod_builder_add_object of its headers, 0.3.65
    made = pod.object_(
        0x40004,
        5,
        [
            (1, pod.range_of(4, 2, 8)),
            (2, pod.int_(1)),
            (3, pod.int_(1280 * 720 * 2)),
            (4, pod.int_(2560)),
            (6, pod.flags_of(6)),
        ],
    )
    assert made.hex() == (
        "a80000000f000000040004000500000001000000000000001c0000001300000001000000000000000400000004000000040000000200000"
        "008000000000000000200000000000000040000000400000001000000000000000300000000000000040000000400000000201c00000000"
        "0004000000000000000400000004000000000a0000000000000600000000000000140000001300000004000000000000000400000004000"
        "0000600000000000000"
    )
    made = pod.object_(
        0x40003,
        3,
        [(0x20001, pod.id_(4)), (0x20003, pod.rectangle(1280, 720)), (0x20004, pod.fraction(30000, 1001))],
    )
    assert made.hex() == (
        "500000000f0000000300040003000000"
        "0100020000000000040000000300000004000000000000000300020000000000080000000a00000000050000d00200000400020000000000"
        "080000000b00000030750000e9030000"
    )


def test_what_was_built_is_read_again_with_the_preferred_one_of_each_choice() -> None:
    properties = [
        (1, pod.range_of(4, 2, 8)),
        (2, pod.int_(7)),
        (3, pod.rectangle(1280, 720)),
        (4, pod.fraction(30000, 1001)),
        (5, pod.id_(23)),
        (6, pod.flags_of(6)),
    ]
    made = pod.object_(0x40003, 4, properties)
    read = {1: (4,), 2: (7,), 3: (1280, 720), 4: (30000, 1001), 5: (23,), 6: (6,)}
    assert pod.properties_of(made) == read
    memory = ctypes.create_string_buffer(made + b"more")
    assert pod.bytes_at(ctypes.addressof(memory)) == made


def test_one_that_is_cut_off_or_no_object_is_refused() -> None:
    made = pod.object_(0x40003, 4, [(1, pod.range_of(4, 2, 8)), (2, pod.int_(7))])
    for length in range(len(made)):
        with pytest.raises(ValueError, match=r"cut off|received kind"):
            pod.properties_of(made[:length])
    with pytest.raises(ValueError, match="received kind 4"):
        pod.properties_of(pod.int_(3))
    longer = bytearray(made)
    struct.pack_into("=I", longer, 24, 1 << 30)  # of the first property
    with pytest.raises(ValueError, match="cut off"):
        pod.properties_of(bytes(longer))
