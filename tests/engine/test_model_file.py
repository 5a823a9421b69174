from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import ModelFileError
from engine.model_file import ModelFile
from tests.engine import models


def test_read_once_with_its_notes_and_names(tmp_path: Path) -> None:
    path = models.counter(tmp_path / "m.onnx")
    model = ModelFile.read(path)
    path.unlink()
    assert model.data
    assert len(model.sha256) == 64
    assert model.metadata() == {}
    assert model.tensor_names() == {"x", "state_in", "y", "state_out"}
    assert ModelFile.read(models.conv_net(tmp_path / "c.onnx")).metadata() == {"livecomp.model": "test"}


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_anywhere_is_noticed(tmp_path: Path, keep: float) -> None:
    data = models.conv_net(tmp_path / "m.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelFileError, match=r"cut\.onnx is no ONNX model, or was cut off"):
        ModelFile.read(path)


def test_damage_within_an_entry_is_noticed_by_every_backend(tmp_path: Path) -> None:
    from engine import BACKENDS, BackendError, open_runner

    data = models.conv_net(tmp_path / "m.onnx").read_bytes()
    opset, name = data.rindex(b"\x10\x12"), data.index(b"Sigmoid")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(data[:opset] + b"\x0a" + data[opset + 1 :])
    with pytest.raises(ModelFileError, match=r"damaged\.onnx is no ONNX model, or was cut off"):
        ModelFile.read(damaged)
    damaged.write_bytes(data[:name] + b"\xff" + data[name + 1 :])
    for backend in BACKENDS:
        try:
            BACKENDS[backend].probe()
        except BackendError:
            continue
        with pytest.raises(ModelFileError, match=r"damaged\.onnx"):
            open_runner(damaged, backend).open()


def test_opsets_that_no_runtime_promises_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="uses ONNX opset 999, expected 7 to"):
        ModelFile.read(models.future_opset(tmp_path / "m.onnx"))


@pytest.mark.parametrize("place", ["initializer", "constant", "branch"])
def test_weights_outside_the_file_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """They could name any file, and no hash covers them."""
    import onnx
    from onnx import helper

    weight = onnx.numpy_helper.from_array(np.ones((1, 4), np.float32), "w")
    (tmp_path / "weights.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    constant = helper.make_node("Constant", [], ["w"], value=weight)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if place == "constant":
        nodes.insert(0, constant)
    elif place == "branch":
        branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("w", 1, [1, 4])])
        condition = helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(True)))
        nodes = [condition, helper.make_node("If", ["c"], ["w"], then_branch=branch, else_branch=branch), *nodes]
    path = models.save(tmp_path / "outside.onnx", nodes, {"x": (1, 4)}, {"y": (1, 4)}, {})
    model = onnx.load(path, load_external_data=False)
    if place == "initializer":
        model.graph.initializer.append(weight)
    path.write_bytes(model.SerializeToString())
    monkeypatch.chdir(tmp_path)  # where runtimes would look for it
    with pytest.raises(ModelFileError, match=r"outside\.onnx has weights in other files"):
        ModelFile.read(path)
