"""CameraSource and the list of cameras against drivers that behave and misbehave; the stand-in is the preloaded one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.v4l2.shim import CameraState, FakeCamera, FakeLoopback, Mode, Program, environment

pytestmark = pytest.mark.v4l2

SMALL: list[Mode] = [("YUYV", (64, 48), (30,))]
REPOSITORY = Path(__file__).parents[2]
AGENT = "from tests.v4l2.camera_agent import main; main()"


class Tree:
    """A made-up /dev and /sys; `plug` and `unplug` do what udev does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("dev/v4l/by-id", "sys/class/video4linux", "proc"):
            (root / folder).mkdir(parents=True)

    def node(self, number: int) -> Path:
        return self.root / f"dev/video{number}"

    def plug(self, number: int, name: str, stable_id: str = "") -> None:
        self.node(number).touch()
        entry = self.root / f"sys/class/video4linux/video{number}"
        entry.mkdir()
        (entry / "name").write_text(f"{name}\n")
        if stable_id:
            (self.root / "dev/v4l/by-id" / stable_id).symlink_to(f"../../video{number}")

    def unplug(self, number: int, stable_id: str = "") -> None:
        self.node(number).unlink()
        entry = self.root / f"sys/class/video4linux/video{number}"
        (entry / "name").unlink()
        entry.rmdir()
        if stable_id:
            (self.root / "dev/v4l/by-id" / stable_id).unlink()


class Agent:
    """camera_agent.py in its process."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def __call__(self, command: str) -> dict[str, Any]:
        self._program.go_on(command)
        answer: dict[str, Any] = json.loads(self._program.line())
        return answer


AgentMaker = Callable[..., Agent]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "root")


@pytest.fixture
def start(fake_v4l2: Path, tree: Tree) -> Iterator[AgentMaker]:
    with ExitStack() as stack:

        def make(
            devices: dict[int, FakeCamera | FakeLoopback],
            spec: str = "auto",
            *,
            size_wh: tuple[int, int] = (64, 48),
            fps: int = 30,
        ) -> Agent:
            variables = environment(fake_v4l2, {tree.node(number): device for number, device in devices.items()})
            variables["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
            arguments = (spec, str(size_wh[0]), str(size_wh[1]), str(fps), tree.root)
            return Agent(stack.enter_context(Program(variables, AGENT, *arguments)))

        yield make


def test_a_virtual_camera_is_never_asked_for_buffers(fake_v4l2: Path, tree: Tree, tmp_path: Path) -> None:
    for number, name in ((0, "Camera"), (10, "LiveComp")):
        tree.plug(number, name, "")
    camera, virtual = FakeCamera(tmp_path / "a", SMALL), FakeLoopback(tmp_path / "LiveComp.y4m")
    script = """
        import sys
        from pathlib import Path
        from livecomp.capture import devices, v4l2
        from livecomp.output.virtual import VirtualCameraSink
        from livecomp.frame import Composite, freeze
        import numpy as np
        root, asked, is_busy = Path(sys.argv[1]), [], v4l2.is_busy
        sink = VirtualCameraSink(size_wh=(64, 48), fps=30, root=root)
        sink.open()
        sink.write(Composite(freeze(np.zeros((48, 64, 3), np.uint8)), 0))
        v4l2.is_busy = lambda device: asked.append(v4l2.capabilities(device).driver) or is_busy(device)
        found = devices.list_cameras(root, with_virtual=True)
        print([camera.name for camera in found], asked)
        sink.close()
    """
    variables = environment(fake_v4l2, {tree.node(0): camera, tree.node(10): virtual})
    variables["PYTHONPATH"] = str(REPOSITORY)
    with camera, Program(variables, script, tree.root) as program:
        assert program.line() == "['Fake Camera', 'LiveComp'] ['fakecamera']"
        program.finish()


def test_cameras_are_listed_with_ids_drivers_modes_and_what_is_wrong(
    start: AgentMaker, tree: Tree, tmp_path: Path
) -> None:
    modes: list[Mode] = [("YUYV", (64, 48), (30, 15)), ("MJPG", (128, 96), (30,)), ("H264", (256, 192), (60, 30))]
    good = FakeCamera(tmp_path / "a", modes, name="Good Camera")
    busy = FakeCamera(tmp_path / "b", SMALL, name="Busy Camera")
    busy.state = CameraState.BUSY
    forbidden = FakeCamera(tmp_path / "c", SMALL, name="Forbidden Camera")
    forbidden.state = CameraState.FORBIDDEN
    gone = FakeCamera(tmp_path / "d", SMALL)
    gone.state = CameraState.UNPLUGGED
    virtual = FakeLoopback(tmp_path / "LiveComp.y4m")
    for number, name, stable_id in (
        (0, "Good Camera", "usb-good-index0"),
        (2, "Busy Camera", ""),
        (3, "Forbidden Camera", ""),
        (4, "Gone", ""),
        (10, "LiveComp", ""),
    ):
        tree.plug(number, name, stable_id)
    process = tree.root / "proc/123"
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text("zoom\n")
    (process / "fd/7").symlink_to(tree.node(2))
    agent = start({0: good, 2: busy, 3: forbidden, 4: gone, 10: virtual})
    first, second, third = agent("list")["cameras"]
    assert first["path"] == str(tree.node(0))
    assert (first["name"], first["stable_id"], first["driver"]) == ("Good Camera", "usb-good-index0", "fakecamera")
    assert first["modes"] == [["YUYV", 64, 48, 30, 15], ["MJPG", 128, 96, 30], ["H264", 256, 192]]
    assert first["trouble"] == ""
    assert "in use by zoom (process 123)" in second["trouble"]
    assert third["name"] == "Forbidden Camera"
    assert "sudo usermod -aG " in third["trouble"]


def test_it_gives_the_colours_at_the_rate_with_the_times_of_capture(
    start: AgentMaker, tree: Tree, tmp_path: Path
) -> None:
    camera = FakeCamera(tmp_path / "a", SMALL)
    tree.plug(0, "Fake Camera")
    agent = start({0: camera})
    opened = agent("open")
    assert (opened["name"], opened["size"], opened["fps"]) == ("Fake Camera", [64, 48], 30)
    for rgb in ((255, 255, 255), (0, 0, 0), (255, 0, 0), (200, 40, 90)):
        camera.show(np.full((48, 64, 3), rgb, np.uint8))
        agent("read")
        frame = agent("read")
        assert frame["rgb"] == pytest.approx(rgb, abs=2)
        assert 0 <= frame["age_ms"] < 200
    run = agent("many")
    assert run["rises"]
    assert run["fps"] == pytest.approx(30, abs=1.5)
    assert camera.streaming == 1
    agent("close")
    assert camera.streaming == 0
    assert agent("threads")["threads"] == []


@pytest.mark.parametrize(
    ("quantization", "encoding", "luma_chroma", "rgb"),
    [
        (1, 0, (0, 128, 128), (0, 0, 0)),
        (1, 0, (255, 128, 128), (255, 255, 255)),
        (1, 0, (76, 85, 255), (254, 0, 0)),
        (2, 2, (63, 102, 240), (255, 0, 0)),
        (1, 2, (54, 99, 255), (254, 0, 0)),
        (2, 0, (81, 90, 240), (254, 0, 0)),
    ],
)
def test_range_and_matrix_of_the_driver_are_honoured(
    start: AgentMaker,
    tree: Tree,
    tmp_path: Path,
    quantization: int,
    encoding: int,
    luma_chroma: tuple[int, int, int],
    rgb: tuple[int, int, int],
) -> None:
    camera = FakeCamera(tmp_path / "a", SMALL, quantization=quantization, ycbcr_enc=encoding)
    y, u, v = luma_chroma
    camera.show_raw(0, bytes((y, u, y, v)) * (64 * 48 // 2))
    tree.plug(0, "Fake Camera")
    agent = start({0: camera})
    agent("open")
    assert agent("read")["rgb"] == pytest.approx(rgb, abs=2)


def test_jpeg_is_taken_where_raw_pictures_come_too_slowly_and_damaged_ones_are_passed_over(
    start: AgentMaker, tree: Tree, tmp_path: Path
) -> None:
    modes: list[Mode] = [("YUYV", (128, 96), (10,)), ("YUYV", (64, 48), (30,)), ("MJPG", (128, 96), (30, 15))]
    camera = FakeCamera(tmp_path / "a", modes)
    picture = np.full((96, 128, 3), (250, 128, 20), np.uint8)
    camera.show(picture)
    tree.plug(0, "Fake Camera")
    agent = start({0: camera}, size_wh=(128, 96))
    opened = agent("open")
    assert (opened["size"], opened["fps"]) == ([128, 96], 30)
    assert camera.active_mode[0] == "MJPG"
    assert agent("read")["rgb"] == pytest.approx((250, 128, 20), abs=3)
    whole = camera.encode(2, picture)
    for damaged in (b"", whole[3:]):
        camera.show_raw(2, damaged)
        agent("read")  # the one that may have been on its way
        assert "gave no picture" in agent("read")["error"]
    camera.show_raw(2, whole)
    assert agent("read")["rgb"] == pytest.approx((250, 128, 20), abs=3)


def test_unplugged_it_says_so_at_once_and_is_found_again_under_another_number_and_size(
    start: AgentMaker, tree: Tree, tmp_path: Path
) -> None:
    camera, other = FakeCamera(tmp_path / "a", SMALL), FakeCamera(tmp_path / "b", SMALL, name="Other")
    tree.plug(0, "Fake Camera", "usb-fake-index0")
    agent = start({0: camera, 1: other, 2: camera})
    agent("open")
    agent("read")
    camera.state = CameraState.UNPLUGGED
    tree.unplug(0, "usb-fake-index0")
    tree.plug(1, "Other", "usb-other-index0")
    agent("read")  # it may be one that had come before
    answer = agent("read")
    assert "unplugged" in answer["error"]
    assert answer["seconds"] < 0.5
    for _ in range(2):
        answer = agent("open")
        assert "Fake Camera is not plugged in" in answer["error"]
        assert answer["seconds"] < 0.5
    camera.set_modes([("YUYV", (96, 64), (30,))])
    tree.plug(2, "Fake Camera", "usb-fake-index0")
    opened = agent("open")
    assert (opened["name"], opened["size"]) == ("Fake Camera", [96, 64])
    assert agent("read")["size"] == [96, 64]
    assert other.delivered == 0


def test_a_silent_camera_and_one_at_half_rate(start: AgentMaker, tree: Tree, tmp_path: Path) -> None:
    camera = FakeCamera(tmp_path / "a", SMALL)
    tree.plug(0, "Fake Camera")
    agent = start({0: camera})
    agent("open")
    camera.slowdown = 2
    agent("read")
    agent("read")
    assert agent("many")["fps"] == pytest.approx(15, abs=1)
    camera.state = CameraState.SILENT
    agent("read")
    answer = agent("read")
    assert "gave no picture for 1 s" in answer["error"]
    assert 0.9 < answer["seconds"] < 1.5
    camera.state = CameraState.THERE
    assert "rgb" in agent("read")


def test_a_driver_that_never_returns_holds_nobody(start: AgentMaker, tree: Tree, tmp_path: Path) -> None:
    camera = FakeCamera(tmp_path / "a", SMALL)
    tree.plug(0, "Fake Camera")
    agent = start({0: camera})
    agent("open")
    agent("read")
    camera.state = CameraState.WEDGED
    agent("read")
    answer = agent("read")
    assert "gave no picture" in answer["error"]
    assert answer["seconds"] < 1.5
    assert agent("close")["seconds"] < 1.5
    for _ in range(3):
        answer = agent("open")
        assert "does not answer" in answer["error"]
        assert answer["seconds"] < 0.5
    assert agent("threads")["threads"] == ["camera-driver"]
    camera.state = CameraState.THERE
    for _ in range(20):
        if "error" not in agent("open"):
            break
        time.sleep(0.05)
    assert "rgb" in agent("read")
    agent("close")
    assert agent("threads")["threads"] == []
    assert camera.streaming == 0


def test_closed_from_another_thread_read_returns(start: AgentMaker, tree: Tree, tmp_path: Path) -> None:
    camera = FakeCamera(tmp_path / "a", SMALL)
    tree.plug(0, "Fake Camera")
    agent = start({0: camera})
    for state in (CameraState.THERE, CameraState.SILENT):
        agent("open")
        camera.state = state
        answer = agent("close while reading")
        assert answer["took_s"] < 0.5
        assert not answer["alive"]
        assert "closed" in answer["ends"][0]
        assert agent("threads")["threads"] == []


@pytest.mark.parametrize(
    ("state", "text"),
    [(CameraState.BUSY, "in use by another program"), (CameraState.FORBIDDEN, "sudo usermod -aG")],
)
def test_why_it_cannot_be_opened(start: AgentMaker, tree: Tree, tmp_path: Path, state: CameraState, text: str) -> None:
    camera = FakeCamera(tmp_path / "a", SMALL)
    tree.plug(0, "Fake Camera")
    agent = start({0: camera})
    camera.state = state
    assert text in agent("open")["error"]
    camera.state = CameraState.THERE
    assert agent("open")["size"] == [64, 48]


def test_a_camera_without_a_format_that_can_be_read(start: AgentMaker, tree: Tree, tmp_path: Path) -> None:
    camera = FakeCamera(tmp_path / "a", [("H264", (64, 48), (30,))])
    tree.plug(0, "Fake Camera")
    assert "no format that can be read; it has: H264" in start({0: camera})("open")["error"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("auto", "Front Camera"),
        ("2", "Rear Camera"),
        ("usb-rear-index0", "Rear Camera"),
        ("rear", "Rear Camera"),
        ("Camera", "'Camera' is the name of 2 cameras"),
        ("back", "there is no camera 'back'; there are: Front Camera"),
        ("7", "there is no camera '7'"),
    ],
)
def test_ways_to_name_a_camera(start: AgentMaker, tree: Tree, tmp_path: Path, spec: str, expected: str) -> None:
    front = FakeCamera(tmp_path / "a", SMALL, name="Front Camera")
    rear = FakeCamera(tmp_path / "b", SMALL, name="Rear Camera")
    tree.plug(0, "Front Camera")
    tree.plug(2, "Rear Camera", "usb-rear-index0")
    answer = start({0: front, 2: rear}, spec)("open")
    assert answer.get("name", answer.get("error", "")).startswith(expected)


def test_without_a_camera_it_says_so(start: AgentMaker, tree: Tree) -> None:
    assert "there is no camera" in start({})("open")["error"]


CONTRACT = """
    import itertools, sys
    from fractions import Fraction
    import numpy as np
    from livecomp.capture.camera import CameraSource
    from pathlib import Path
    source = CameraSource(size_wh=(64, 48), root=Path(sys.argv[1]))
    source.close()
    source.open()
    frames = [source.read() for _ in range(12)]
    kept = frames[0].rgb.copy()
    info = source.info
    source.close()
    source.close()
    assert all(frame.size_wh == info.size_wh for frame in frames)
    assert all(frame.rgb.flags.c_contiguous and not frame.rgb.flags.writeable for frame in frames)
    assert all(frame.alpha is None for frame in frames)
    assert info.fps > 0 and info.frame_count is None and not info.is_still and info.path is None
    assert all(b.pts_ns > a.pts_ns for a, b in itertools.pairwise(frames))
    assert all((Fraction(frame.pts_ns, 10**9) / info.time_base).denominator == 1 for frame in frames)
    assert np.array_equal(frames[0].rgb, kept)
    assert not np.array_equal(frames[0].rgb, frames[-1].rgb)
    source.open()
    assert source.read().pts_ns > frames[-1].pts_ns
    source.close()
"""


@pytest.mark.parametrize("fourcc", ["YUYV", "MJPG"])
def test_what_every_source_promises(fake_v4l2: Path, tree: Tree, tmp_path: Path, fourcc: str) -> None:
    with FakeCamera(tmp_path / "a", [(fourcc, (64, 48), (30,))]) as camera:
        camera.play(np.full((48, 64, 3), level, np.uint8) for level in range(0, 250, 10))
        tree.plug(0, "Fake Camera")
        variables = {**environment(fake_v4l2, {tree.node(0): camera}), "PYTHONPATH": str(REPOSITORY)}
        with Program(variables, CONTRACT, tree.root) as program:
            program.finish()
