"""The pipeline with whole frames: what it shows, what it does when the GPU is not there, and when it goes away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine import InferenceError
from livecomp import api
from livecomp.bench import Case
from livecomp.bench.pipeline import measure
from livecomp.config import Config
from livecomp.correction import Correction
from livecomp.errors import ConfigError, DependencyError, MatteError, ModelError
from livecomp.frame import Composite, Frame, U8Array, freeze
from livecomp.gpu import choice
from livecomp.gpu.whole import Shown
from livecomp.media.image import read_image
from livecomp.pipeline import Pipeline
from tests.livecomp.fakes import (
    CANARY,
    SCENE,
    FakeCompositor,
    FakeHarmonizer,
    FakeSegmenter,
    FakeSmoother,
    fake_stages,
    person_alpha,
    room_frame,
)
from tests.livecomp.fakes import FakeBackground as StillScene
from tests.livecomp.gpu.test_whole import demo_frames

ON_CPU = {"segment": {"backend": "onnxruntime"}, "harmonize": {"backend": "onnxruntime"}}
WHOLE = Config.from_options(ON_CPU | {"compute": "gpu"})
STAGED = Config.from_options(ON_CPU | {"compute": "cpu"})


class FakeWhole:
    """Composites by the true matte; `fault` is called before, and may raise."""

    backend = "fake"

    def __init__(self, fault: Callable[[Frame], None] = lambda frame: None, *, required: bool = False) -> None:
        self.fault = fault
        self.required = required
        self.on_open: Exception | None = None
        self.calls: list[str] = []
        self.corrections: list[Correction] = []
        self.gains = iter(np.linspace(0.1, 0.9, 9))

    def open(self) -> None:
        self.calls.append("open")
        if self.on_open is not None:
            raise self.on_open

    def prepare(self, size_wh: tuple[int, int], *, plain: bool = False) -> None:
        self.calls.append(f"prepare {size_wh[0]}x{size_wh[1]}")

    def run(self, frame: Frame, scene: U8Array, correction: Correction, *, plain: bool = False) -> Shown:
        self.calls.append("run")
        self.fault(frame)
        return self._shown(frame, scene, correction, plain)

    def again(self, frame: Frame, scene: U8Array, correction: Correction) -> Shown:
        self.calls.append("again")
        return self._shown(frame, scene, correction, False)

    def predict(self) -> Correction:
        gain = np.full((16, 16), next(self.gains), np.float32)
        return replace(Correction.identity(), log_gain=gain)

    def reset(self) -> None:
        self.calls.append("reset")

    def close(self) -> None:
        self.calls.append("close")

    def _shown(self, frame: Frame, scene: U8Array, correction: Correction, plain: bool) -> Shown:
        self.corrections.append(correction)
        composite = FakeCompositor().compose(frame.with_alpha(person_alpha()), scene, correction)
        return Shown(composite, composite if plain else None, freeze(np.zeros((64, 64), np.uint8)))


def shows_room(composite: Composite) -> bool:
    return bool((composite.rgb == CANARY).all(axis=2).any())


def gain(correction: Correction | None) -> float:
    assert correction is not None
    return float(correction.log_gain[0, 0])


def test_the_composites_are_those_of_the_stages() -> None:
    with Pipeline(WHOLE.build("demo")) as whole, Pipeline(STAGED.build("demo")) as staged:
        for index, frame in enumerate(demo_frames((320, 180), 5)):
            got, expected = whole.process(frame), staged.process(frame)
            difference = np.abs(got.composite.rgb.astype(np.int16) - expected.composite.rgb)
            # the first frame is run twice; later corrections are those of the frame before
            assert difference.mean() < (0.05 if index == 0 else 0.3)
            assert got.correction is not None
        assert {row.stage for row in whole.timer.summary()} == {"background", "gpu", "light", "harmonize", "smooth"}
        assert whole.stages.whole is not None
        assert whole.stages.whole.backend == "onnxruntime"
        assert not whole.has_lost_gpu


def test_what_is_predicted_steers_the_next_frame_and_after_a_cut_the_frame_itself() -> None:
    fake = FakeWhole()
    with Pipeline(fake_stages(whole=fake), keep_plain=True, harmonize_every=2) as pipeline:
        applied = [gain(pipeline.process(room_frame(index)).correction) for index in range(4)]
        # predictions are made for frames 0 and 2: 0.1 is there at once, 0.2 steers frame 3
        assert applied == pytest.approx([0.1, 0.1, 0.1, 0.2])
        assert fake.calls.count("again") == 1
        pipeline.reset()
        assert gain(pipeline.process(room_frame(4)).correction) == pytest.approx(0.3)
        assert fake.calls.count("again") == 2
        assert "reset" in fake.calls
    assert fake.calls.count("close") == 1


def test_corrections_that_were_foreseen_are_those_of_their_frame() -> None:
    fake = FakeWhole()
    dark = replace(Correction.identity(), log_gain=np.full((16, 16), -0.5, np.float32))
    with Pipeline(fake_stages(whole=fake), foreseen=lambda pts_ns: dark) as pipeline:
        for index in range(2):
            assert pipeline.process(room_frame(index)).correction is dark
    assert fake.corrections == [dark, dark]
    assert "again" not in fake.calls


def test_a_look_ahead_that_fails_is_no_failure_of_the_gpu() -> None:
    def fail(pts_ns: int) -> Correction:
        raise ModelError("the harmonizer failed")

    fake = FakeWhole()
    with Pipeline(fake_stages(whole=fake), foreseen=fail) as pipeline:
        with pytest.raises(ModelError, match="the harmonizer failed"):
            pipeline.process(room_frame(0))
        assert not pipeline.has_lost_gpu
    assert "run" not in fake.calls


def refuse(frame: Frame) -> None:
    raise MatteError("the matte takes 100% of the picture for a person")


def test_a_frame_without_a_valid_matte_stops_the_run_or_becomes_a_slate() -> None:
    with Pipeline(fake_stages(whole=FakeWhole(refuse))) as pipeline, pytest.raises(MatteError, match="100%"):
        pipeline.process(room_frame(0))
    with Pipeline(fake_stages(whole=FakeWhole(refuse)), on_miss="slate", keep_plain=True) as pipeline:
        processed = pipeline.process(room_frame(0))
        assert processed.composite.kind == "slate"
        assert processed.plain is processed.composite
        assert pipeline.missed == 1
        assert not pipeline.has_lost_gpu


@pytest.mark.parametrize("required", [True, False])
def test_a_gpu_that_is_lost_is_replaced_by_the_stages_for_the_very_same_frame(
    required: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def lose(frame: Frame) -> None:
        if frame.pts_ns >= room_frame(2).pts_ns:
            raise ModelError("a whole frame failed on tensorrt: cudaGraphLaunch failed: illegal address (error 700)")

    fake, segmenter, background = FakeWhole(lose, required=required), FakeSegmenter(), StillScene()
    stages = fake_stages(whole=fake, segmenter=segmenter, background=background)
    with caplog.at_level(logging.WARNING, "livecomp"), Pipeline(stages) as pipeline:
        for index in range(5):
            composite = pipeline.process(room_frame(index)).composite
            assert composite.pts_ns == room_frame(index).pts_ns
            assert not shows_room(composite)
            assert composite.rgb[0, 0].tolist() == list(SCENE)
        assert pipeline.has_lost_gpu
        assert fake.calls.count("close") == 1
        assert fake.calls.count("run") == 3
    assert caplog.text.count("processed on the CPU from now on") == 1
    assert "error 700" in caplog.text
    assert (segmenter.closed, background.closed) == (1, 1)


def test_when_the_stages_cannot_stand_in_nothing_is_shown() -> None:
    class Missing(FakeHarmonizer):
        def open(self) -> None:
            raise ModelError("no network")

    def lose(frame: Frame) -> None:
        raise ModelError("lost")

    fake = FakeWhole(lose)
    with Pipeline(fake_stages(whole=fake, harmonizer=Missing())) as pipeline:
        with pytest.raises(ModelError, match="no network"):
            pipeline.process(room_frame(0))
        assert fake.calls.count("close") == 1


def test_a_gpu_that_cannot_be_had_is_an_error_if_it_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    wanted, hoped = FakeWhole(required=True), FakeWhole()
    wanted.on_open = hoped.on_open = DependencyError("no backend can use an NVIDIA GPU")
    with pytest.raises(DependencyError, match="no backend"):
        Pipeline(fake_stages(whole=wanted)).open()
    with caplog.at_level(logging.WARNING, "livecomp"), Pipeline(fake_stages(whole=hoped)) as pipeline:
        assert not shows_room(pipeline.process(room_frame(0)).composite)
    assert "processed on the CPU" in caplog.text


def test_stages_are_exchanged_between_two_frames() -> None:
    first, second, segmenter = FakeWhole(), FakeWhole(), FakeSegmenter()
    stages = fake_stages(whole=first, segmenter=segmenter)
    with Pipeline(stages) as pipeline:
        pipeline.process(room_frame(0))
        pipeline.replace_stages(replace(stages, whole=second))  # type: ignore[arg-type]
        pipeline.process(room_frame(1))
        assert (first.calls.count("close"), second.calls.count("run")) == (1, 1)
        pipeline.replace_stages(replace(stages, whole=None))
        assert not shows_room(pipeline.process(room_frame(2)).composite)
        assert second.calls.count("close") == 1
    assert segmenter.closed == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"segment": {"model": "chroma"}}, "the matte model 'chroma' runs on the CPU only; on a GPU run general, "),
        ({"background": {"source": "blur"}}, "the blurred room as a scene is made on the CPU only"),
        ({"background": {"source": "blur:0.8"}}, "the blurred room as a scene is made on the CPU only"),
        ({"person": {"size": 0.5}}, "the person is scaled and moved on the CPU only"),
    ],
)
def test_what_no_gpu_can_do_is_refused_or_left_to_the_cpu(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config.from_options(options | {"compute": "gpu"}).build()
    for compute in ("auto", "cpu"):
        assert Config.from_options(options | {"compute": compute}).build().whole is None


def test_without_a_gpu_everything_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "gpu_fingerprint", lambda: "")
    monkeypatch.setattr(choice, "_OF_WINDOWS", Path("/nonexistent"))
    monkeypatch.setattr(choice.sys, "platform", "linux")
    assert Config().build().whole is None
    assert Config.from_options(ON_CPU).build().whole is None
    stages = Config.from_options({"compute": "gpu"}).build()
    with pytest.raises(DependencyError, match=r"no NVIDIA GPU .* pip install 'livecomp\[tensorrt\]'"):
        Pipeline(stages).open()


@pytest.mark.parametrize(("driver", "of_windows"), [("NVIDIA RTX 4070", "/nonexistent"), ("", "/")])
def test_a_gpu_without_packages_says_what_to_install_for_each_backend(
    driver: str, of_windows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "gpu_fingerprint", lambda: driver)
    monkeypatch.setattr(choice, "_OF_WINDOWS", Path(of_windows))
    monkeypatch.setattr(choice, "BACKENDS", {name: replace(choice.BACKENDS[name], prober=_absent) for name in BACKENDS})
    with pytest.raises(DependencyError) as caught:
        choice.find_backend()
    for word in (*BACKENDS, "livecomp[tensorrt-rtx]", "onnxruntime-gpu", "not here"):
        assert word in str(caught.value)
    assert Config().build().whole is None


def test_a_gpu_that_does_not_answer_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise InferenceError("cudaGetDeviceProperties failed: illegal address (error 700)")

    monkeypatch.setattr(choice, "gpu_fingerprint", lambda: "NVIDIA RTX 4070")
    monkeypatch.setattr(choice, "BACKENDS", {name: replace(choice.BACKENDS[name], prober=lost) for name in BACKENDS})
    with pytest.raises(DependencyError, match="illegal address"):
        choice.find_backend()
    assert Config().build().whole is None


BACKENDS = choice.GPU_BACKENDS


def _absent() -> None:
    raise choice.BackendError("not here")


def test_a_gpu_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livecomp.config.find_backend", lambda: "tensorrt")
    whole = Config().build().whole
    assert whole is not None
    assert not whole.required
    assert Config.from_options({"compute": "cpu"}).build().whole is None
    assert Config.from_options(ON_CPU).build().whole is None


def test_files_are_processed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    process_whole = Pipeline._process_whole
    monkeypatch.setattr(Pipeline, "_process_whole", lambda self, frame: ran.append("x") or process_whole(self, frame))
    for config, name in ((WHOLE, "whole.png"), (STAGED, "staged.png")):
        api.process(Path(api.__file__).parent / "assets" / "astronaut.jpg", "#204060", tmp_path / name, config=config)
    assert len(ran) == 1
    whole, staged = (read_image(tmp_path / name).astype(np.int16) for name in ("whole.png", "staged.png"))
    assert np.abs(whole - staged).mean() < 0.1


def test_whole_frames_are_measured() -> None:
    case = Case((160, 96), backend="onnxruntime", harmonize_every=3, compute="gpu")
    assert case.name == "160x96 both + live, every 3, onnxruntime, gpu"
    found = measure(case, Config(), "synthetic", "#204060", 0.3)
    assert found.note == "whole frames on onnxruntime"
    assert {row.stage for row in found.stages} == {"background", "gpu", "light", "harmonize", "smooth"}
    assert found.harmonizing is None
    assert found.copies is None


def test_frames_too_small_for_a_gpu_go_through_the_stages(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "livecomp"), Pipeline(WHOLE.build("demo"), on_miss="slate") as pipeline:
        assert not shows_room(pipeline.process(room_frame(0)).composite)
        assert pipeline.has_lost_gpu
    assert "48x32 are too small for the GPU" in caplog.text


def test_a_smoother_hears_of_the_person() -> None:
    class Listening(FakeSmoother):
        def update(
            self, correction: Correction, pts_ns: int, alpha: U8Array | None = None, *, magnified: float = 1.0
        ) -> Correction:
            assert alpha is not None
            assert alpha.shape == (64, 64)
            return correction

    with Pipeline(fake_stages(whole=FakeWhole(), smoother=Listening())) as pipeline:
        pipeline.process(room_frame(0))
