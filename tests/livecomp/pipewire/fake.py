"""libpipewire of the test's own, which fails as the real one may; the real one is in tests/pipewire."""

from __future__ import annotations

import ctypes
import errno
from collections import Counter
from typing import Any

from livecomp.pipewire import library, pod
from livecomp.pipewire.library import Buffer, Chunk, Data, Events, Header, Meta, StreamBuffer

__all__ = [
    "CONNECTING",
    "ERROR",
    "FORMAT",
    "PAUSED",
    "SIZE",
    "SIZE_WH",
    "STREAMING",
    "UNCONNECTED",
    "Camera",
    "Library",
]

SIZE_WH = (64, 48)
SIZE = 64 * 48 * 2
FORMAT = 4
ERROR, UNCONNECTED, CONNECTING, PAUSED, STREAMING = -1, 0, 1, 2, 3


class Library:
    """libpipewire with one connection and one stream."""

    def __init__(self) -> None:
        self.state = PAUSED
        self.message = b""
        self.refusal = 0
        self.has_core = True
        self.locks = 0
        self.free: list[ctypes.Array[ctypes.c_uint8]] = []
        self.taken: list[tuple[Any, ...]] = []
        self.shown: list[tuple[bytes, Chunk, Header]] = []
        self.params: list[bytes] = []
        self.triggers = 0
        self.open: Counter[str] = Counter()
        self.events: Events | None = None

    def lend(self, size: int = SIZE) -> ctypes.Array[ctypes.c_uint8]:
        self.free.append((ctypes.c_uint8 * (size + 16))(*[0xAA] * (size + 16)))
        return self.free[-1]

    def tell(self, kind: int, param: bytes | None) -> None:
        """A parameter as PipeWire gives it."""
        assert self.events is not None
        memory = ctypes.create_string_buffer(param) if param is not None else None
        self.events.param_changed(None, kind, memory and ctypes.addressof(memory))

    def pw_get_library_version(self) -> bytes:
        return b"1.2.3"

    def pw_thread_loop_new(self, name: bytes, properties: None) -> int:
        self.open["loop"] += 1
        return 1

    def pw_thread_loop_get_loop(self, loop: int) -> int:
        return 2

    def pw_thread_loop_start(self, loop: int) -> int:
        self.open["thread"] += 1
        return 0

    def pw_thread_loop_lock(self, loop: int) -> None:
        assert loop == 1
        self.locks += 1

    def pw_thread_loop_unlock(self, loop: int) -> None:
        self.locks -= 1

    def pw_thread_loop_stop(self, loop: int) -> None:
        assert not self.locks, "the thread would wait for ever"
        self.open["thread"] -= self.open["thread"]

    def pw_thread_loop_destroy(self, loop: int) -> None:
        assert not self.open["thread"]
        self.open["loop"] -= 1

    def pw_context_new(self, loop: int, properties: None, size: int) -> int:
        self.open["context"] += 1
        return 3

    def pw_context_connect(self, context: int, properties: None, size: int) -> int | None:
        ctypes.set_errno(errno.EHOSTDOWN)
        return 4 if self.has_core else None

    def pw_context_destroy(self, context: int) -> None:
        assert not self.open["stream"]
        self.open["context"] -= 1

    def pw_properties_new_string(self, text: bytes) -> int:
        assert b'"media.role": "Camera"' in text
        return 5

    def pw_stream_new(self, core: int, name: bytes, properties: int) -> int:
        assert self.locks == 1
        self.open["stream"] += 1
        return 6

    def pw_stream_add_listener(self, stream: int, hook: object, events: Events, data: None) -> None:
        self.events = events

    def pw_stream_connect(self, stream: int, direction: int, target: int, flags: int, params: Any, count: int) -> int:
        assert self.locks == 1
        return -self.refusal

    def pw_stream_update_params(self, stream: int, params: Any, count: int) -> int:
        self.params = [params[index] for index in range(count)]
        return 0

    def pw_stream_get_state(self, stream: int, message: ctypes.c_char_p) -> int:
        assert self.locks == 1
        message.value = self.message or None
        return self.state

    def pw_stream_dequeue_buffer(self, stream: int) -> Any:
        assert self.locks == 1
        if not self.free:
            return ctypes.POINTER(StreamBuffer)()
        memory = self.free.pop(0)
        chunk, header = Chunk(), Header(flags=77)
        has_memory = len(memory) > 16
        address = ctypes.addressof(memory) if has_memory else None
        data = Data(data=address, maxsize=len(memory) - 16, chunk=ctypes.pointer(chunk))
        meta = Meta(library.META_HEADER, ctypes.sizeof(Header), ctypes.pointer(header))
        buffer = Buffer(1, 1, ctypes.pointer(meta), ctypes.pointer(data))
        lent = StreamBuffer(ctypes.pointer(buffer))
        self.taken.append((memory, chunk, header, data, meta, buffer, lent))
        return ctypes.pointer(lent)

    def pw_stream_queue_buffer(self, stream: int, lent: Any) -> int:
        memory, chunk, header, *_ = self.taken[-1]
        self.shown.append((bytes(memory), chunk, header))
        return 0

    def pw_stream_trigger_process(self, stream: int) -> int:
        assert len(self.shown) == self.triggers + 1, "the picture has to be there first"
        self.triggers += 1
        return 0

    def pw_stream_destroy(self, stream: int) -> None:
        assert not self.open["thread"]
        self.open["stream"] -= 1


class Camera(Library):
    """The same with a camera to read from.

    Attributes:
        chooses: The format it chooses; None for the one it is asked for.
        given: Pictures that were not taken yet.
        back: How many were given back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = STREAMING
        self.chooses: bytes | None = None
        self.given: list[tuple[Any, ...]] = []
        self.back = 0

    def give(self, *planes: bytes, **facts: int) -> None:
        """A picture, and the word that it is there.

        Args:
            planes: Bytes of each; none of one that has no memory.
            facts: Of the chunk of each: offset, stride, flags; and header_flags, and pts.
        """
        header = Header(flags=facts.pop("header_flags", 0), pts=facts.pop("pts", 0))
        chunks = [Chunk(**{"size": len(plane), **facts}) for plane in planes]
        memories = [ctypes.create_string_buffer(plane, len(plane)) if plane else None for plane in planes]
        datas = (Data * len(planes))(
            *(
                Data(data=memory and ctypes.addressof(memory), maxsize=len(plane), chunk=ctypes.pointer(chunk))
                for memory, plane, chunk in zip(memories, planes, chunks, strict=True)
            )
        )
        meta = Meta(library.META_HEADER, ctypes.sizeof(Header), ctypes.pointer(header))
        buffer = Buffer(1, len(planes), ctypes.pointer(meta), datas)
        lent = StreamBuffer(ctypes.pointer(buffer))
        self.given.append((lent, buffer, meta, datas, memories, chunks, header))
        assert self.events is not None
        self.events.process(None)

    def pw_stream_connect(self, stream: int, direction: int, target: int, flags: int, params: Any, count: int) -> int:
        address = ctypes.cast(params, ctypes.POINTER(ctypes.c_void_p))[0]
        assert address is not None
        self.tell(FORMAT, self.chooses or pod.bytes_at(address))
        return super().pw_stream_connect(stream, direction, target, flags, params, count)

    def pw_stream_dequeue_buffer(self, stream: int) -> Any:
        assert self.locks == 1
        if not self.given:
            return ctypes.POINTER(StreamBuffer)()
        self.taken.append(self.given.pop(0))
        return ctypes.pointer(self.taken[-1][0])

    def pw_stream_queue_buffer(self, stream: int, lent: Any) -> int:
        assert self.locks == 1
        self.back += 1
        return 0
