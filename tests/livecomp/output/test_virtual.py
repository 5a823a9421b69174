"""The virtual camera with a backend of the test's own, and with a preloaded driver that has the real one's faults."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livecomp.errors import ConfigError, DependencyError, OutputError
from livecomp.frame import Composite, freeze
from livecomp.output import loopback, viewers
from livecomp.output.viewers import ViewerWatch
from livecomp.output.virtual import VirtualCameraSink
from tests.livecomp.clips import composite
from tests.v4l2 import shim
from tests.v4l2.shim import FakeLoopback, LoopbackState, Program

pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="the extra virtualcam is not installed")

SIZE = (64, 48)


class Backend:
    """A backend of pyvirtualcam that keeps what it was sent."""

    opened: list[Backend] = []  # noqa: RUF012 (cleared by the fixture)
    fails = ""

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **_: Any) -> None:
        if self.fails == "open":
            raise RuntimeError("the camera is in use")
        self.fps, self.name, self.is_closed = fps, device, False
        self.frames: list[np.ndarray[Any, Any]] = []
        Backend.opened.append(self)

    def send(self, frame: np.ndarray[Any, Any]) -> None:
        if self.fails == "send":
            raise RuntimeError("the camera was removed")
        self.frames.append(frame.copy())

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True

    def device(self) -> str:
        return self.name or "Fake"

    def native_fourcc(self) -> int | None:
        return None


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Backend]]:
    monkeypatch.setitem(pyvirtualcam.camera.BACKENDS, "fake", Backend)
    Backend.opened.clear()
    Backend.fails = ""
    yield Backend
    Backend.fails = ""


def _sink(**options: Any) -> VirtualCameraSink:
    return VirtualCameraSink(**{"size_wh": SIZE, "fps": 30, "backend": "fake", **options})


def test_pictures_arrive_as_they_are(backend: type[Backend]) -> None:
    sink = _sink(device="LiveComp")
    sink.open()
    sink.write(composite(7))
    assert (sink.device, sink.viewers()) == ("LiveComp", None)
    sink.close()
    (camera,) = backend.opened
    assert np.array_equal(camera.frames[0].reshape(48, 64, 3), composite(7).rgb)
    assert camera.is_closed
    assert sink.device == ""


def test_a_failed_write_closes_the_camera_and_it_can_be_opened_again(backend: type[Backend]) -> None:
    sink = _sink()
    sink.open()
    backend.fails = "send"
    with pytest.raises(OutputError, match="cannot write to the virtual camera Fake: the camera was removed"):
        sink.write(composite(0))
    assert backend.opened[0].is_closed
    with pytest.raises(OutputError, match="not open"):
        sink.write(composite(0))
    backend.fails = ""
    sink.open()
    sink.write(composite(1))
    sink.close()
    assert len(backend.opened[1].frames) == 1


def test_a_camera_that_cannot_be_had_says_why(backend: type[Backend]) -> None:
    backend.fails = "open"
    with pytest.raises(OutputError, match="the camera is in use"):
        _sink().open()
    with pytest.raises(ConfigError, match="no virtual camera backend 'nonsense': expected one of"):
        _sink(backend="nonsense").open()


@pytest.mark.parametrize("size_wh", [(63, 48), (64, 47), (0, 48), (-2, 48)])
def test_sizes_are_even_and_not_empty(backend: type[Backend], size_wh: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="even width and height"):
        _sink(size_wh=size_wh).open()
    assert backend.opened == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_the_rate_is_a_positive_number(backend: type[Backend], fps: float) -> None:
    with pytest.raises(ConfigError, match="frames per second"):
        _sink(fps=fps).open()


def test_without_the_package_the_message_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(DependencyError, match=r"pip install 'livecomp\[virtualcam\]'"):
        _sink().open()


# Viewers, with a clock of the test's own.


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_somebody_is_seen_at_once_and_missed_after_a_while() -> None:
    clock, counts = Clock(), [0]
    watch = ViewerWatch(lambda: counts[0], clock=clock, leave_s=3.0, interval_s=0.25)
    assert not watch.watched()
    clock.now += 0.25
    counts[0] = 2
    assert watch.watched()
    counts[0] = 0
    for _ in range(11):
        clock.now += 0.25
        assert watch.watched()
    clock.now += 0.25
    assert not watch.watched()


def test_an_unknown_number_counts_as_watched_and_a_closed_watch_does_not() -> None:
    watch = ViewerWatch(lambda: None)
    assert watch.watched()
    watch.close()
    watch.close()
    assert not watch.watched()


def test_it_does_not_look_more_often_than_agreed() -> None:
    clock, calls = Clock(), itertools.count()
    watch = ViewerWatch(lambda: next(calls) and 0, clock=clock, interval_s=0.25)
    for _ in range(100):
        clock.now += 0.0625
        watch.watched()
    assert next(calls) == 25


def _process(root: Path, number: int, name: str, device: Path) -> None:
    folder = root / f"proc/{number}/fd"
    folder.mkdir(parents=True)
    (folder / "4").symlink_to(device)
    (folder.parent / "comm").write_text(f"{name}\n")


def test_processes_that_have_the_device_open_are_counted(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "proc").mkdir()
    device, other = tmp_path / "dev/video10", tmp_path / "dev/video1"
    device.touch()
    other.touch()
    assert viewers.viewers(str(device), tmp_path) is None
    _process(tmp_path, 999_999_001, "chromium", device)
    _process(tmp_path, 999_999_002, "zoom", other)
    assert loopback.holders(str(device), tmp_path) == {999_999_001: "chromium"}
    assert viewers.viewers(str(device), tmp_path) == 1
    assert viewers.viewers(str(tmp_path / "dev/video3"), tmp_path) is None


# A driver in user space, with real system calls from a process of its own.

WRITER = """
import sys
from pathlib import Path
import numpy as np
from livecomp.errors import OutputError
from livecomp.frame import Composite, freeze
from livecomp.output.virtual import VirtualCameraSink

def picture(rgb):
    return Composite(freeze(np.full((48, 64, 3), rgb, np.uint8)), 0)

sink = VirtualCameraSink(sys.argv[2], size_wh=(64, 48), fps=30, root=Path(sys.argv[1]))
"""


class Tree:
    """A made-up system with one virtual camera, /dev/video10."""

    def __init__(self, root: Path, library: Path, **options: Any) -> None:
        self.root = root
        node = root / "sys/class/video4linux/video10"
        module = root / "sys/module/v4l2loopback"
        for folder in (node, module / "parameters", root / "dev", root / "proc"):
            folder.mkdir(parents=True)
        (node / "name").write_text("LiveComp\n")
        (node / "max_openers").write_text("10\n")
        (module / "version").write_text("0.15.0\n" if options.get("has_tokens") else "0.12.7\n")
        (module / "parameters/exclusive_caps").write_text("Y,N,N\n")
        self.path = root / "dev/video10"
        self.path.touch()
        self.camera = FakeLoopback(root / "out.y4m", **options)
        self._environment = shim.environment(library, {self.path: self.camera})

    def run(self, script: str, device: str = "auto") -> Program:
        return Program(self._environment, WRITER + script, self.root, device)


@pytest.fixture(scope="module")
def fake_v4l2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := shim.why_not():
        pytest.skip(reason)
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def sticky(tmp_path: Path, fake_v4l2: Path) -> Tree:
    return Tree(tmp_path, fake_v4l2, sticky=True)


@pytest.mark.v4l2
@pytest.mark.parametrize("device", ["auto", "LiveComp", "path"])
def test_colours_are_bt601_limited(sticky: Tree, device: str) -> None:
    script = "sink.open(); sink.write(picture((255, 0, 0))); print(sink.label); input(); sink.close()"
    with sticky.run(script, str(sticky.path) if device == "path" else device) as program:
        assert program.line() == "LiveComp"
        i420 = sticky.camera.i420().ravel()
        program.go_on()
        program.finish()
    planes = i420[: 64 * 48], i420[64 * 48 : 64 * 60], i420[64 * 60 :]
    for plane, expected in zip(planes, (81.5, 90.2, 240.0), strict=True):
        assert np.abs(plane - expected).max() <= 1


@pytest.mark.v4l2
def test_the_guard_lets_the_next_producer_in_after_a_close_and_after_a_kill(sticky: Tree) -> None:
    with sticky.run("sink.open(); sink.write(picture(9)); print('on'); input(); sink.close(); input()") as program:
        program.line()
        assert sticky.camera.guard == program.pid
        program.go_on()
        program.go_on()
        program.finish()
    assert not sticky.camera.caps_gone
    with sticky.run("sink.open(); sink.write(picture(9)); print('on'); input()") as program:
        assert program.line() == "on"
        program.kill()
    with sticky.run("sink.open(); sink.write(picture(9)); print('on again'); sink.close()") as program:
        assert program.line() == "on again"
        program.finish()


@pytest.mark.v4l2
@pytest.mark.parametrize("size_wh", [SIZE, (32, 24)])
def test_from_0_14_on_a_viewer_is_kept_for_whoever_produces_next_but_after_a_good_end(
    tmp_path: Path, fake_v4l2: Path, size_wh: tuple[int, int]
) -> None:
    tree = Tree(tmp_path, fake_v4l2, has_tokens=True)
    look = """
from livecomp.output.loopback import list_virtual_cameras
(info,) = list_virtual_cameras(Path(sys.argv[1]))
print(info.is_free, any("left it unusable" in fault for fault in info.faults))
"""

    def looks() -> str:
        with tree.run(look) as program:
            line = program.line()
            program.finish()
        return line

    with tree.run("sink.open(); print('open'); input(); sink.write(picture(9)); print('on'); input()") as program:
        assert program.line() == "open"
        assert not tree.camera.keeps_format  # what is not shown yet needs nobody who waits for it
        program.go_on()
        assert program.line() == "on"
        assert tree.camera.keeps_format
        assert looks() == "False False"
        with tree.run("try:\n    sink.open()\nexcept OutputError as error:\n    print(error)") as second:
            assert "is taken" in second.line()
            second.finish()
        program.kill()
    assert looks() == "True True"
    again = f"""
sink = VirtualCameraSink(sys.argv[2], size_wh={size_wh}, fps=30, root=Path(sys.argv[1]))
sink.open(); sink.write(Composite(freeze(np.zeros({(*size_wh[::-1], 3)}, np.uint8)), 0)); print("on again")
input(); sink.close()
"""
    with tree.run(again) as program:
        assert program.line() == "on again"
        assert tree.camera.keeps_format
        program.go_on()
        program.finish()
    assert tree.camera.size_wh == size_wh
    assert not tree.camera.keeps_format
    assert looks() == "True False"


@pytest.mark.v4l2
def test_without_a_guard_the_driver_of_the_test_has_the_fault_and_it_is_repaired(sticky: Tree) -> None:
    unguarded = """
import os
from livecomp.output.v4l2 import S_FMT, call_format, open_device
device = open_device(sys.argv[1] + "/dev/video10")
call_format(device, S_FMT, 64, 48)
os.write(device, bytes(64 * 48 * 3 // 2))
os.close(device)
"""
    with sticky.run(unguarded) as program:
        program.finish()
    assert sticky.camera.caps_gone
    with sticky.run("sink.open(); sink.write(picture(9)); print('repaired'); sink.close()") as program:
        assert program.line() == "repaired"
        program.finish()


@pytest.mark.v4l2
@pytest.mark.parametrize(
    ("state", "message"), [(LoopbackState.REMOVED, "was removed"), (LoopbackState.FAILS, "cannot write to .*video10")]
)
def test_a_failing_device_is_noticed_with_the_next_picture(sticky: Tree, state: LoopbackState, message: str) -> None:
    script = """
sink.open(); sink.write(picture(1)); print("on"); input()
try:
    sink.write(picture(2))
except OutputError as error:
    print(error)
for _ in range(2):
    input()
    try:
        sink.open(); sink.write(picture(3)); print("back")
    except OutputError as error:
        print("still", error)
sink.close()
"""
    with sticky.run(script) as program:
        assert program.line() == "on"
        sticky.camera.state = state
        program.go_on()
        assert re.search(message, program.line())
        program.go_on()
        assert program.line().startswith("still")
        sticky.camera.state = LoopbackState.THERE
        program.go_on()
        assert program.line() == "back"
        program.finish()
    assert sticky.camera.frames == 2


@pytest.mark.v4l2
@pytest.mark.parametrize(
    ("state", "message"),
    [(LoopbackState.BUSY, "is taken"), (LoopbackState.FORBIDDEN, "usermod -aG video")],
)
def test_a_device_that_cannot_be_had_says_why(sticky: Tree, state: LoopbackState, message: str) -> None:
    sticky.camera.state = state
    script = "try:\n    sink.open()\nexcept OutputError as error:\n    print(error)"
    with sticky.run(script) as program:
        assert message in program.line()
        program.finish()


@pytest.mark.v4l2
def test_a_second_producer_is_refused_and_told_who_has_it(sticky: Tree) -> None:
    _process(sticky.root, 999_999_001, "obs", sticky.path)
    with sticky.run("sink.open(); sink.write(picture(1)); print('on'); input(); sink.close()") as first:
        first.line()
        with sticky.run("try:\n    sink.open()\nexcept OutputError as error:\n    print(error)") as second:
            assert "is taken: obs (process 999999001) has it open" in second.line()
            second.finish()
        first.go_on()
        first.finish()


KEEPING = """
from livecomp.output import loopback_writer
real = loopback_writer.call_format
def keeps(device, number, *size_wh):
    return real(device, number, *(size_wh and (32, 24)))
loopback_writer.call_format = keeps
try:
    sink.open()
except OutputError as error:
    print(error)
"""


@pytest.mark.v4l2
def test_a_size_that_the_driver_keeps_is_an_error(sticky: Tree) -> None:
    with sticky.run(KEEPING) as program:
        assert "keeps 32x24 YU12 instead of 64x48" in program.line()
        program.finish()


@pytest.mark.v4l2
def test_a_viewer_of_another_size_goes_on_waiting_for_whoever_has_that(tmp_path: Path, fake_v4l2: Path) -> None:
    tree = Tree(tmp_path, fake_v4l2, has_tokens=True)
    smaller = """
sink = VirtualCameraSink(sys.argv[2], size_wh=(32, 24), fps=30, root=Path(sys.argv[1]))
sink.open(); sink.write(Composite(freeze(np.zeros((24, 32, 3), np.uint8)), 0)); print("on"); input()
"""
    with tree.run(smaller) as program:
        assert program.line() == "on"
        program.kill()
    assert tree.camera.keeps_format
    with tree.run(KEEPING) as program:
        assert "keeps 32x24 YU12 instead of 64x48" in program.line()
        program.finish()
    assert tree.camera.keeps_format


@pytest.mark.v4l2
def test_devices_are_listed_with_their_faults(sticky: Tree) -> None:
    script = """
from livecomp.output.loopback import list_virtual_cameras
(info,) = list_virtual_cameras(Path(sys.argv[1]))
print(info.number, info.label, info.driver_version, info.exclusive_caps, info.is_free, info.size_wh)
print(" ".join(info.faults) or "no faults")
"""
    version = sticky.root / "sys/module/v4l2loopback/version"
    for told, known in (("0.12.7", "0.12.7"), (None, "before 0.13")):
        version.unlink()
        if told:
            version.write_text(told)
        with sticky.run(script) as program:
            assert program.line() == f"10 LiveComp {known} True True None"
            assert "lets only one program write per load of the module" in program.line()
            program.finish()
        version.touch()
    (sticky.root / "sys/class/video4linux/video10/state").write_text("capture\n")
    with sticky.run(script) as program:
        assert program.line() == "10 LiveComp  True True None"
        assert program.line() == "no faults"
        program.finish()
    version.write_text("0.15.0\n")
    with sticky.run(script) as program:
        assert program.line() == "10 LiveComp 0.15.0 True True None"
        assert "lets only one program watch at a time" in program.line()
        program.finish()
    version.write_text("0.13.2\n")
    (sticky.root / "sys/module/v4l2loopback/parameters/exclusive_caps").write_text("N,N\n")
    with sticky.run(script) as program:
        assert program.line().split()[3] == "False"
        faults = program.line()
        assert "Chromium" in faults
        assert "one program" not in faults
        program.finish()


@pytest.mark.v4l2
def test_drivers_with_the_event_tell_their_viewers(tmp_path: Path, fake_v4l2: Path) -> None:
    tree = Tree(tmp_path, fake_v4l2, usage_events=True)
    script = """
sink.open(); sink.write(picture(1)); print("on")
for _ in range(3):
    input(); print(sink.viewers())
sink.close()
"""
    with tree.run(script) as program:
        program.line()
        for consumers in (0, 1, 0):
            tree.camera.consumers = consumers
            program.go_on()
            assert program.line() == str(consumers)
        program.finish()


def test_a_system_without_the_driver_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="livecomp setup v4l2loopback"):
        _sink(backend=None, root=tmp_path).open()


def test_slates_are_shown_too(backend: type[Backend]) -> None:
    sink = _sink()
    sink.open()
    sink.write(Composite(freeze(np.zeros((48, 64, 3), np.uint8)), 0, "slate"))
    sink.close()
    assert len(backend.opened[0].frames) == 1
