"""The offline loop: every frame, in order, while other threads decode ahead and encode behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from livecomp.capture import Source
from livecomp.composite.beside import beside
from livecomp.frame import Composite, Frame
from livecomp.output import Sink
from livecomp.pipeline import Pipeline, Processed
from livecomp.stats import StageTimer

__all__ = ["BesidePicker", "Output", "run_offline"]

_QUEUE_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Output:
    """Where one view of the processed frames goes.

    Args:
        sink: Opened, finished or aborted by `run_offline`.
        pick: What of a processed frame is written; None skips the frame. Called in the sink's thread.
        stage: Name of the writing stage in the timing table.
        rest: What is written after the last frame; None for nothing. Called in the sink's thread.
    """

    sink: Sink
    pick: Callable[[Processed], Composite | None] = lambda processed: processed.composite
    stage: str = "write"
    rest: Callable[[], Composite | None] = lambda: None


class BesidePicker:
    """Picks plain and harmonized side by side, of every frame or of one.

    Args:
        only_frame: Number of the one frame, counted from 0; None for every frame. The last one stands in for a frame
            that never comes: containers often state more frames than they play.
    """

    def __init__(self, only_frame: int | None = None) -> None:
        self._only_frame = only_frame
        self._seen = 0
        self._latest: Processed | None = None

    def __call__(self, processed: Processed) -> Composite | None:
        """The pair as one picture, or None when this frame is not wanted or has no plain composite."""
        index, self._seen = self._seen, self._seen + 1
        if self._only_frame in (None, index):
            self._latest = None
            return _pair(processed)
        if self._only_frame is not None and index < self._only_frame:
            self._latest = processed
        return None

    def rest(self) -> Composite | None:
        """The last pair, where the wanted frame never came."""
        return None if self._latest is None else _pair(self._latest)


def _pair(processed: Processed) -> Composite | None:
    return None if processed.plain is None else beside(processed.plain, processed.composite)


def run_offline(
    source: Source,
    pipeline: Pipeline,
    outputs: Sequence[Output],
    *,
    on_frame: Callable[[], None] = lambda: None,
) -> int:
    """Process every frame of a source, in order and without drops, while other threads decode and encode.

    Args:
        source: Open; read to its end, and left open.
        pipeline: Open; left open.
        outputs: Their sinks are opened here, and finished from the last to the first, or all aborted if anything fails.
        on_frame: Called after each frame, for a progress display.

    Returns:
        The number of frames.

    Raises:
        LiveCompError: A stage failed; the first sink has kept nothing, nor has another but where the first failed last.
        KeyboardInterrupt: Likewise.
    """
    reader = _Reader(source, pipeline.timer)
    writers: list[_Writer] = []
    frames = 0
    try:
        for output in outputs:
            writers.append(_Writer(output, pipeline.timer))
            output.sink.open()
        for thread in (reader, *writers):
            thread.start()
        while (frame := reader.get()) is not None:
            processed = pipeline.process(frame)
            for writer in writers:
                writer.put(processed)
            frames += 1
            on_frame()
        for writer in writers:
            writer.drain()
        for output in reversed(outputs):  # the first, which was asked for, gets its name once nothing else can fail
            output.sink.close()
    except BaseException:
        for writer in writers:
            writer.abort()
        raise
    finally:
        reader.stop()
    return frames


@dataclass(frozen=True, slots=True)
class _Failure:
    error: BaseException


class _Reader(threading.Thread):
    """Decodes ahead into a short queue; then hands over None at the end, or the error that ended it."""

    def __init__(self, source: Source, timer: StageTimer) -> None:
        super().__init__(name="livecomp-reader", daemon=True)
        self._source = source
        self._timer = timer
        self._queue: queue.Queue[Frame | _Failure | None] = queue.Queue(_QUEUE_FRAMES)
        self._stopping = threading.Event()

    def run(self) -> None:
        item: Frame | _Failure | None
        while not self._stopping.is_set():
            try:
                with self._timer.measure("read"):
                    item = self._source.read()
            except BaseException as error:  # a thread's boundary: `get` re-raises it in the owner
                item = _Failure(error)
            if not _put(self._queue, item, self._stopping) or not isinstance(item, Frame):
                return

    def get(self) -> Frame | None:
        """The next frame, or None at the end; raises what the source raised."""
        item = self._queue.get()
        if isinstance(item, _Failure):
            raise item.error
        return item

    def stop(self) -> None:
        """Stop, and wait until the thread has ended."""
        self._stopping.set()
        if self.ident is not None:
            self.join()


class _Writer(threading.Thread):
    """Encodes from a short queue into one sink."""

    def __init__(self, output: Output, timer: StageTimer) -> None:
        super().__init__(name=f"livecomp-{output.stage}", daemon=True)
        self._output = output
        self._timer = timer
        self._queue: queue.Queue[Processed | None] = queue.Queue(_QUEUE_FRAMES)
        self._stopping = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                processed = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            try:
                if processed is None:
                    self._write(self._output.rest())
                    return
                with self._timer.measure(self._output.stage):
                    self._write(self._output.pick(processed))
            except BaseException as error:  # a thread's boundary: `put` and `drain` re-raise it in the owner
                self._error = error
                self._stopping.set()

    def _write(self, composite: Composite | None) -> None:
        if composite is not None:
            self._output.sink.write(composite)

    def put(self, processed: Processed) -> None:
        """Hand over one picture; raises what the sink raised for an earlier one."""
        if not _put(self._queue, processed, self._stopping):
            self._raise()

    def drain(self) -> None:
        """Write all that is queued and end the thread; raises what the sink raised."""
        _put(self._queue, None, self._stopping)
        self.join()
        self._raise()

    def abort(self) -> None:
        """End the thread and give up what was written."""
        self._stopping.set()
        if self.ident is not None:
            self.join()
        self._output.sink.abort()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


_Item = TypeVar("_Item")


def _put(slot: queue.Queue[_Item], item: _Item, stopping: threading.Event) -> bool:
    """Queue `item`, waiting as long as it takes; False if the other side stopped meanwhile."""
    while not stopping.is_set():
        try:
            slot.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
