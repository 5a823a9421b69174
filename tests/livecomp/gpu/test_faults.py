"""Whatever networks, graph or runner do, nothing of the room comes through."""

from __future__ import annotations

import re
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from engine import InferenceError, ModelFile, Runner, TensorMap
from livecomp.correction import Correction
from livecomp.errors import ContractError, LiveCompError, MatteError, ModelError
from livecomp.frame import Frame, freeze
from livecomp.gpu.nodes import Nodes
from livecomp.gpu.whole import WholeFrame, WholeOptions
from tests.livecomp.gpu.graphs import ROOM, cpu_runner, networks, whole_frame
from tests.livecomp.gpu.test_whole import demo_frames

SIZE_WH = (160, 96)
SCENE = freeze(np.full((96, 160, 3), (20, 30, 200), np.uint8))


def room(index: int = 0) -> Frame:
    """Nothing but a wall of the canary colour."""
    return Frame(freeze(np.full((96, 160, 3), ROOM, np.uint8)), index * 33_000_000)


def network(fill: Callable[[], np.ndarray]) -> bytes:
    """A matte network that says the same of every picture."""
    nodes = Nodes()
    picture = nodes.input("input", np.float32, (1, 3, 256, 256))
    mean = nodes.op("ReduceMean", picture, keepdims=1)
    said = nodes.add(nodes.mul(mean, 0.0), fill().astype(np.float32).reshape(1, 1, 256, 256))
    nodes.output("output", said, np.float32, (1, 1, 256, 256))
    return nodes.model("faulty")


def with_network(fill: Callable[[], np.ndarray]) -> WholeFrame:
    faulty = networks() | {"general": network(fill)}
    whole = whole_frame(WholeOptions(matte_model="general", refine=True), networks=lambda: faulty)
    whole.open()
    return whole


def half() -> np.ndarray:
    matte = np.zeros((256, 256))
    matte[:, :128] = 1
    return matte


@pytest.mark.parametrize(
    ("fill", "error"),
    [
        (lambda: np.full((256, 256), np.nan), ModelError),
        (lambda: np.full((256, 256), np.inf), ModelError),
        (lambda: np.ones((256, 256)), MatteError),
        (lambda: np.full((256, 256), 0.5), MatteError),
        (lambda: half() * 3, MatteError),
    ],
)
def test_a_network_that_goes_wrong_shows_nothing(fill: Callable[[], np.ndarray], error: type[LiveCompError]) -> None:
    whole = with_network(fill)
    with pytest.raises(error):
        whole.run(room(), SCENE, Correction.identity())
    whole.close()


def test_a_network_that_sees_nobody_shows_the_scene_alone() -> None:
    whole = with_network(lambda: np.zeros((256, 256)))
    shown = whole.run(room(), SCENE, Correction.identity())
    np.testing.assert_array_equal(shown.composite.rgb, SCENE)
    assert not shown.alpha.any()
    assert np.array_equal(whole.predict().matrix, np.eye(3))
    whole.close()


def test_a_network_that_stalls_is_noticed() -> None:
    whole = with_network(half)
    whole.run(room(0), SCENE, Correction.identity())
    other = Frame(freeze(np.full((96, 160, 3), 128, np.uint8)), 33_000_000)
    with pytest.raises(MatteError, match="stalled"):
        whole.run(other, SCENE, Correction.identity())
    whole.close()


class FaultyRunner:
    """Runs the graph, then lets a fault change what comes out of it."""

    def __init__(self, inner: Runner, fault: Callable[[TensorMap, TensorMap], TensorMap]) -> None:
        self._inner = inner
        self._fault = fault
        self.active = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def infer(self, feed: TensorMap) -> TensorMap:
        outputs = self._inner.infer(feed)
        return self._fault(feed, outputs) if self.active else outputs


def full(_: TensorMap, outputs: TensorMap) -> TensorMap:
    """The whole room passes for a person after the matte was made."""
    return outputs | {"thin_alpha": np.full((64, 64), 255, np.float32), "composite": np.full_like(SCENE, ROOM)}


def crash(_feed: TensorMap, _outputs: TensorMap) -> TensorMap:
    raise RuntimeError("segmentation fault, nearly")


def lost(_feed: TensorMap, _outputs: TensorMap) -> TensorMap:
    raise InferenceError("cudaGraphLaunch failed: unspecified launch failure (error 719)")


FAULTS: list[tuple[str, Callable[[TensorMap, TensorMap], TensorMap], type[LiveCompError], str]] = [
    ("the frame itself", lambda feed, out: out | {"composite": feed["frame"].copy()}, MatteError, "not the scene"),
    ("the room as a person", full, MatteError, "the matte says that nobody is"),
    ("white", lambda _, out: out | {"composite": np.full_like(SCENE, 255)}, MatteError, "not the scene"),
    ("black", lambda _, out: out | {"composite": np.zeros_like(SCENE)}, MatteError, "not the scene"),
    ("no alpha", lambda _, out: out | {"thin_alpha": np.full((64, 64), np.nan, np.float32)}, ModelError, "not finite"),
    ("large alpha", lambda _, out: out | {"thin_alpha": out["thin_alpha"] - 1}, MatteError, r"in 0\.\.255"),
    ("another size", lambda _, out: out | {"composite": SCENE[:-1].copy()}, ModelError, "as 'composite': expected"),
    ("missing", lambda _, out: {k: v for k, v in out.items() if k != "matte"}, ModelError, "NoneType as 'matte'"),
    ("crash", crash, ModelError, "nearly"),
    ("driver", lost, ModelError, "error 719"),
]


@pytest.mark.parametrize(("fault", "error", "words"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_a_runner_that_goes_wrong_shows_nothing(
    fault: Callable[[TensorMap, TensorMap], TensorMap], error: type[LiveCompError], words: str
) -> None:
    runners: list[FaultyRunner] = []

    def make(model: ModelFile) -> FaultyRunner:
        runners.append(FaultyRunner(cpu_runner(model), fault))
        return runners[-1]

    whole = whole_frame(make_runner=make)
    whole.open()
    first, second, third = demo_frames(SIZE_WH, 3)
    good = whole.run(first, SCENE, Correction.identity())
    assert (good.alpha == 0).any()
    runners[0].active = True
    with pytest.raises(error, match=words):
        whole.run(second, SCENE, Correction.identity())
    with pytest.raises(error, match=words):
        whole.again(second, SCENE, Correction.identity())
    runners[0].active = False
    assert whole.run(third, SCENE, Correction.identity()).composite.kind == "composite"
    whole.close()


def test_somebody_who_comes_close_to_the_lens_may_fill_the_picture() -> None:
    share = [0.5, 0.8, 1.0]

    def approach(_: TensorMap, outputs: TensorMap) -> TensorMap:
        matte = np.zeros_like(outputs["matte"])
        matte[:, : int(matte.shape[1] * share.pop(0))] = 1
        return outputs | {"matte": matte}

    def make(model: ModelFile) -> FaultyRunner:
        runner = FaultyRunner(cpu_runner(model), approach)
        runner.active = True
        return runner

    whole = whole_frame(WholeOptions(clear=False), make_runner=make)
    whole.open()
    for frame in demo_frames(SIZE_WH, 3):
        assert whole.run(frame, SCENE, Correction.identity()).composite.kind == "composite"
    assert share == []
    whole.close()


@pytest.mark.parametrize("size_wh", [(320, 180), (200, 202), (641, 359)])
@pytest.mark.parametrize("options", [WholeOptions(), WholeOptions("landscape", refine=False, clear=False)])
def test_a_machine_that_computes_as_the_cpu_does_is_trusted(size_wh: tuple[int, int], options: WholeOptions) -> None:
    whole = whole_frame(options, prove=True)
    whole.open()
    whole.prepare(size_wh, plain=True)
    whole.close()


def darker(_: TensorMap, outputs: TensorMap) -> TensorMap:
    """The person's inside at half the light; around it all is as it should be."""
    inside = cv2.resize(outputs["thin_alpha"], (320, 180), interpolation=cv2.INTER_NEAREST) > 250
    inside = cv2.erode(inside.astype(np.uint8), np.ones((15, 15), np.uint8))[..., None] > 0
    return outputs | {"composite": np.where(inside, outputs["composite"] // 2, outputs["composite"])}


def other_prediction(_: TensorMap, outputs: TensorMap) -> TensorMap:
    return outputs | {"raw_matrix": outputs["raw_matrix"] + np.float32(0.1)}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (darker, "comes out with a mean difference of"),
        (other_prediction, "the predicted matrix of the built-in portrait differs by 0.1"),
        (crash, "nearly"),
        (lambda _, out: out | {"matte": np.ones_like(out["matte"])}, "for a person"),
    ],
)
def test_a_machine_that_computes_something_else_is_not_trusted(
    fault: Callable[[TensorMap, TensorMap], TensorMap], words: str
) -> None:
    def make(model: ModelFile) -> FaultyRunner:
        runner = FaultyRunner(cpu_runner(model), fault)
        runner.active = True
        return runner

    whole = whole_frame(make_runner=make, prove=True)
    whole.open()
    with pytest.raises(ModelError, match=f"are not trusted: .*{words}"):
        whole.prepare((320, 180))
    with pytest.raises(ModelError, match="are not trusted"):
        whole.run(demo_frames((320, 180), 1)[0], SCENE_320, Correction.identity())
    whole.close()


SCENE_320 = freeze(np.full((180, 320, 3), (20, 30, 200), np.uint8))


@pytest.mark.parametrize("error", [InferenceError("out of memory (error 2)"), RuntimeError("nvrtc is missing")])
def test_a_graph_that_cannot_be_loaded_is_one_typed_error(error: Exception) -> None:
    class Unloadable(FaultyRunner):
        def open(self) -> None:
            raise error

    whole = whole_frame(make_runner=lambda model: Unloadable(cpu_runner(model), crash))
    whole.open()
    with pytest.raises(ModelError, match=f"cannot be loaded: {re.escape(str(error))}"):
        whole.prepare(SIZE_WH)
    whole.close()


def test_a_scene_of_another_size_is_refused() -> None:
    whole = whole_frame()
    whole.open()
    (frame,) = demo_frames(SIZE_WH, 1)
    with pytest.raises(ContractError, match=r"expected a background of \(96, 160, 3\)"):
        whole.run(frame, freeze(np.zeros((10, 10, 3), np.uint8)), Correction.identity())
    whole.close()
