"""Plans for whole frames: TensorRT-RTX builds them without a GPU, so operators that it refuses are found here."""

from __future__ import annotations

import pytest

from engine import BackendError, ModelFile
from engine.backends.tensorrt_build import BuildOptions, build_plan, import_tensorrt
from livecomp.gpu.graph import GraphSpec, build_graph
from livecomp.gpu.networks import load_networks
from livecomp.gpu.nodes import input_side
from livecomp.models import model_path

SEEN = input_side(model_path("live").read_bytes())


@pytest.mark.parametrize(
    ("spec", "harmonizer"),
    [
        (GraphSpec((1280, 720), SEEN), "live"),
        (GraphSpec((1281, 719), SEEN, "landscape", refine=False, linear_light=True, plain=True), "identity"),
    ],
)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_tensorrt_rtx_builds_whole_frames(
    spec: GraphSpec, harmonizer: str, precision: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        trt = import_tensorrt("tensorrt_rtx")
    except BackendError as error:
        pytest.skip(str(error))
    graph = build_graph(spec, load_networks(spec.matte_model, harmonizer, precision))
    plan, _ = build_plan(trt, ModelFile.of(graph, "frame.onnx"), BuildOptions("fp32", targets=("SM89",)))
    assert len(plan) > 100_000
    capfd.readouterr()
