"""Changes that are asked for while the thread that would make them ends."""

from __future__ import annotations

import threading
import time
from typing import cast

import pytest

from livecomp.errors import ConfigError
from livecomp.frame import Composite, Frame, freeze
from livecomp.live.mailbox import Mailbox
from livecomp.live.worker import Worker
from livecomp.pipeline import Pipeline, Processed
from tests.livecomp.live.fakes import eventually, room


class Stuck:
    """A pipeline that takes as long as it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def process(self, frame: Frame) -> Processed:
        self.begun.set()
        assert self.go_on.wait(10)
        return Processed(Composite(frame.rgb, frame.pts_ns, kind="slate"), None, None)


def test_a_change_that_the_end_overtakes_is_refused() -> None:
    pipeline, frames = Stuck(), Mailbox[Frame]()
    worker = Worker(cast("Pipeline", pipeline), frames, Mailbox())
    worker.start()
    frames.put(Frame(freeze(room()), time.monotonic_ns()))
    assert pipeline.begun.wait(3)
    told: list[BaseException] = []

    def change() -> None:
        try:
            worker.between_frames(lambda: told.append(AssertionError("it was made")))
        except BaseException as error:
            told.append(error)

    waiting = threading.Thread(target=change)
    waiting.start()
    assert eventually(lambda: bool(worker._changes))
    ending = threading.Thread(target=worker.stop)
    ending.start()
    assert eventually(worker._stopping.is_set)
    pipeline.go_on.set()
    ending.join(5)
    waiting.join(5)
    with pytest.raises(ConfigError, match="the call ends"):
        raise told[0]
    assert len(told) == 1
