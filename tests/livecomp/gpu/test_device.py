"""Whole frames on an NVIDIA GPU, for real; skipped where there is none."""

from __future__ import annotations

import pytest

from livecomp.bench import Case
from livecomp.bench.pipeline import measure
from livecomp.config import Config
from livecomp.errors import DependencyError
from livecomp.gpu.choice import GPU_BACKENDS, find_backend
from livecomp.pipeline import Pipeline
from tests.livecomp.gpu.test_whole import demo_frames

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def device() -> str:
    try:
        return find_backend()
    except DependencyError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("size_wh", [(1280, 720), (641, 359)])
def test_the_device_shows_what_the_cpu_shows(size_wh: tuple[int, int]) -> None:
    # a device that computes something else is refused when the pipeline is opened
    with Pipeline(Config.from_options({"compute": "gpu"}).build("demo")) as pipeline:
        for frame in demo_frames(size_wh, 5):
            assert pipeline.process(frame).composite.kind == "composite"
        assert not pipeline.has_lost_gpu
        assert pipeline.stages.whole is not None
        assert pipeline.stages.whole.backend in GPU_BACKENDS


def test_the_device_keeps_up() -> None:
    found = measure(Case((1920, 1080), harmonize_every=3, compute="gpu"), Config(), "demo", "demo", 2.0)
    assert found.note.startswith("whole frames on ")
    assert found.frame.p95_ms < 33
