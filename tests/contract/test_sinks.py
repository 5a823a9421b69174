"""What every sink promises."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from livecomp.errors import ContractError
from livecomp.frame import Composite, Frame, freeze
from livecomp.output import Sink
from livecomp.output.memory import MemorySink
from livecomp.output.still import StillSink
from livecomp.output.video import VideoSink
from livecomp.output.virtual import VirtualCameraSink
from tests.livecomp.clips import composite

SinkMaker = Callable[[Path], Sink]


def _video(suffix: str) -> SinkMaker:
    return lambda folder: VideoSink(
        folder / f"out{suffix}", size_wh=(64, 48), fps=Fraction(25), time_base=Fraction(1, 25)
    )


SINKS: dict[str, SinkMaker] = {
    "memory": lambda folder: MemorySink(),
    "still": lambda folder: StillSink(folder / "out.png"),
    "mp4": _video(".mp4"),
    "mkv": _video(".mkv"),
    "webm": _video(".webm"),
    "virtual camera": lambda folder: VirtualCameraSink(size_wh=(64, 48), fps=25, backend="contract"),
}
_WITHOUT_FILE = (MemorySink, VirtualCameraSink)


class _Backend:
    """A backend of pyvirtualcam that shows pictures to nobody."""

    def __init__(self, **options: object) -> None:
        self._name = "nobody's"

    def send(self, frame: object) -> None: ...

    def close(self) -> None: ...

    def device(self) -> str:
        return self._name

    def native_fourcc(self) -> None: ...


@pytest.fixture(params=SINKS)
def sink(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sink:
    if request.param == "virtual camera":
        pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="the extra virtualcam is not installed")
        monkeypatch.setitem(pyvirtualcam.camera.BACKENDS, "contract", _Backend)
    return SINKS[request.param](tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        Frame(composite(0).rgb, 0),
        Frame(composite(0).rgb, 0, freeze(np.zeros((48, 64), np.uint8))),
        composite(0).rgb,
        None,
    ],
)
def test_nothing_but_a_composite_is_taken(sink: Sink, value: object, tmp_path: Path) -> None:
    sink.open()
    with pytest.raises(ContractError, match="takes a Composite and nothing else"):
        sink.write(value)  # type: ignore[arg-type]
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_changed_size_is_refused(sink: Sink) -> None:
    sink.open()
    sink.write(composite(0))
    with pytest.raises(ContractError):
        sink.write(composite(1, (66, 48)))
    sink.abort()


def test_constructors_only_store(tmp_path: Path) -> None:
    for make in SINKS.values():
        make(tmp_path / "missing folder")


def test_one_picture_through_and_close_is_idempotent(sink: Sink, tmp_path: Path) -> None:
    sink.open()
    sink.write(composite(5))
    sink.close()
    sink.close()
    sink.abort()
    if isinstance(sink, _WITHOUT_FILE):
        return
    assert len(list(tmp_path.iterdir())) == 1


def test_abort_leaves_nothing_and_close_after_it_is_harmless(sink: Sink, tmp_path: Path) -> None:
    sink.open()
    sink.write(composite(5))
    sink.abort()
    sink.abort()
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_abort_and_close_before_open_are_harmless(sink: Sink, tmp_path: Path) -> None:
    sink.abort()
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_sink_can_be_used_again(sink: Sink, tmp_path: Path) -> None:
    for _ in range(2):
        sink.open()
        sink.write(composite(0))
        sink.close()
    assert len(list(tmp_path.iterdir())) == (not isinstance(sink, _WITHOUT_FILE))


@pytest.mark.parametrize("is_there", [True, False])
def test_the_file_is_written_where_a_link_leads(sink: Sink, tmp_path: Path, is_there: bool) -> None:
    if isinstance(sink, _WITHOUT_FILE):
        pytest.skip("it has no file")
    sink.open()
    sink.write(composite(0))
    sink.close()
    (link,) = tmp_path.iterdir()
    there = tmp_path / "elsewhere" / "without a suffix"
    there.parent.mkdir()
    link.rename(there)
    before = there.read_bytes()
    if not is_there:
        there.unlink()
    try:
        link.symlink_to(there)
    except OSError:
        pytest.skip("this user may not make links")
    sink.open()
    sink.write(composite(5))
    sink.abort()
    assert there.exists() == is_there
    sink.open()
    sink.write(composite(5))
    sink.close()
    assert link.is_symlink()
    assert there.read_bytes() != before
    assert sorted(tmp_path.rglob("*")) == sorted([link, there.parent, there])


def test_slates_are_taken(sink: Sink) -> None:
    sink.open()
    sink.write(Composite(composite(5).rgb, 0, "slate"))
    sink.close()
