from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from engine import ModelFile, Runner
from livecomp.errors import ModelError
from livecomp.gpu.graph import GraphSpec, build_graph, output_shapes
from livecomp.gpu.nodes import Nodes, input_side
from tests.livecomp.gpu.graphs import cpu_runner, networks

SEEN = input_side(networks()["live"])


def test_one_specification_is_one_graph_so_that_plans_are_found_again() -> None:
    spec = GraphSpec((640, 360), SEEN)
    first, second = (ModelFile.of(build_graph(spec, networks()), "frame.onnx") for _ in range(2))
    assert first.sha256 == second.sha256
    other = ModelFile.of(build_graph(GraphSpec((640, 360), SEEN, refine=False), networks()), "frame.onnx")
    assert other.sha256 != first.sha256


def test_what_the_options_leave_out_is_not_there() -> None:
    known = networks()
    mattes_only = {name: known[name] for name in ("general", "landscape")}
    spec = GraphSpec((96, 64), SEEN, clear=False)
    with cpu_runner(ModelFile.of(build_graph(spec, mattes_only), "frame.onnx")) as runner:
        assert "sure_above" not in {tensor.name for tensor in runner.spec.inputs}
        assert not {tensor.name for tensor in runner.spec.outputs} & {"raw_matrix", "plain"}
        assert dict(shapes(runner)) == output_shapes(spec, predicts=False)
        assert {str(tensor) for tensor in runner.spec.inputs} >= {"frame: uint8 64x96x3", "past: float32 256x256"}


def shapes(runner: Runner) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    return ((tensor.name, tensor.shape) for tensor in runner.spec.outputs)


def test_all_outputs_are_as_they_are_said_to_be() -> None:
    spec = GraphSpec((96, 64), SEEN, "landscape", plain=True)
    with cpu_runner(ModelFile.of(build_graph(spec, networks()), "frame.onnx")) as runner:
        assert dict(shapes(runner)) == output_shapes(spec, predicts=True)


def test_networks_that_cannot_be_embedded_are_refused() -> None:
    known = networks()
    with pytest.raises(ModelError, match=r"has the inputs \['composite', 'mask'\]: expected \['input'\]"):
        build_graph(GraphSpec((96, 64), SEEN, "general"), {"general": known["live"]})
    with pytest.raises(ModelError, match="'rvm' does not run within whole frames; expected general, landscape, both"):
        build_graph(GraphSpec((96, 64), SEEN, "rvm"), known)
    import onnx

    old = onnx.load_from_string(known["general"])
    old.opset_import[0].version = 11
    with pytest.raises(ModelError, match=r"expected ai\.onnx 17 to 18"):
        build_graph(GraphSpec((96, 64), SEEN, "general"), {"general": old.SerializeToString()})


def test_equal_constants_are_kept_once_and_a_graph_that_makes_no_sense_is_named() -> None:
    nodes = Nodes()
    assert nodes.constant(2.0) == nodes.constant(np.array(2, np.float32))
    assert nodes.constant(np.zeros(2, np.float32)) != nodes.constant(np.zeros(2, np.int64))
    nodes.op("Add", "nowhere", 1.0)
    with pytest.raises(ModelError, match="the graph 'odd' is not valid"):
        nodes.model("odd")
