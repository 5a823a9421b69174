from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

from torch import Tensor, nn  # noqa: E402

from engine import ModelFileError, TensorError, open_runner  # noqa: E402
from engine.export import ExportReport, export_onnx, weights_sha256  # noqa: E402


class Small(nn.Module):
    """A convolution and a gate by the mask's mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, rgb: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        features = self.conv(rgb) * mask
        return features, features.mean((2, 3))


INPUTS = {"rgb": torch.rand(1, 3, 8, 8), "mask": torch.ones(1, 1, 8, 8)}
MEANING = {"rgb": "(1, 3, 8, 8) RGB 0..1", "mask": "(1, 1, 8, 8) 1 = person"}


def export(module: nn.Module, path: Path, **changes: object) -> ExportReport:
    settings = {"inputs": INPUTS, "outputs": ["features", "mean"], "model": "small", "version": "3", "meaning": MEANING}
    return export_onnx(module.eval(), path, **{**settings, **changes})  # type: ignore[arg-type]


def test_the_file_computes_what_the_module_does_and_describes_itself(tmp_path: Path) -> None:
    module = Small()
    report = export(module, tmp_path / "small.onnx")
    assert report.difference <= 1e-5
    assert report.nodes == sum(report.operators.values()) <= 4
    assert report.operators["Conv"] == 1
    with open_runner(report.path, "onnxruntime") as runner:
        assert [str(tensor) for tensor in runner.spec.inputs] == ["rgb: float32 1x3x8x8", "mask: float32 1x1x8x8"]
        assert [str(tensor) for tensor in runner.spec.outputs] == ["features: float32 1x4x8x8", "mean: float32 1x4"]
        assert runner.spec.metadata == {
            "livecomp.model": "small",
            "livecomp.version": "3",
            "livecomp.weights_sha256": weights_sha256(module),
            "livecomp.input.rgb": MEANING["rgb"],
            "livecomp.input.mask": MEANING["mask"],
        }
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["small.onnx"]


def test_no_path_of_this_machine_gets_into_the_file(tmp_path: Path) -> None:
    data = export(Small(), tmp_path / "small.onnx").path.read_bytes()
    assert Path(__file__).parent.as_posix().encode() not in data
    assert b"site-packages" not in data


def test_weights_hash_sees_names_and_single_values() -> None:
    module = Small()
    before = weights_sha256(module)
    assert weights_sha256(Small()) == before
    with torch.no_grad():
        module.conv.bias[0] += 1e-6
    assert weights_sha256(module) != before


def test_a_batch_of_any_length(tmp_path: Path) -> None:
    module = Small().eval()
    report = export(module, tmp_path / "small.onnx", dynamic_batch=True)
    rgb, mask = torch.rand(5, 3, 8, 8), torch.rand(5, 1, 8, 8)
    with open_runner(report.path, "onnxruntime") as runner:
        assert str(runner.spec.inputs[0]) == "rgb: float32 ?x3x8x8"
        received = runner.infer({"rgb": rgb.numpy(), "mask": mask.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(received["mean"], module(rgb, mask)[1].numpy(), atol=1e-6)


class Branch(nn.Module):
    """Does something else while it is being exported: a fault put in."""

    def forward(self, x: Tensor) -> Tensor:
        return x + (0.5 if torch.compiler.is_exporting() else 0.0)


def test_a_file_that_differs_from_its_module_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "branch.onnx"
    path.write_bytes(b"the file before")
    with pytest.raises(ModelFileError, match=r"branch\.onnx differs from its module by .*, expected at most 1e-04"):
        export(Branch(), path, inputs={"x": torch.rand(1, 4)}, outputs=["y"], meaning={"x": "anything"})
    assert path.read_bytes() == b"the file before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["branch.onnx"]


def test_a_module_in_training_or_an_input_without_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TensorError, match=r"meaning for the inputs \['mask', 'rgb'\], received \['rgb'\]"):
        export(Small(), tmp_path / "small.onnx", meaning={"rgb": "only"})
    with pytest.raises(TensorError, match="call eval"):
        export_onnx(
            Small().train(),
            tmp_path / "x.onnx",
            inputs=INPUTS,
            outputs=["f", "m"],
            model="m",
            version="1",
            meaning=MEANING,
        )


def test_the_patch_norm_block_is_compact_whatever_its_grid(tmp_path: Path) -> None:
    pn = pytest.importorskip("training.models.pn")
    counts = []
    for grid in (3, 5):
        torch.manual_seed(0)
        report = export(
            pn.PatchNorm(8, grid),
            tmp_path / f"pn{grid}.onnx",
            inputs={"features": torch.rand(1, 8, 30, 30), "mask": torch.ones(1, 1, 60, 60)},
            outputs=["normalized"],
            meaning={"features": "(1, 8, 30, 30)", "mask": "(1, 1, 60, 60) 1 = person"},
        )
        counts.append(report.nodes)
        assert report.operators["MatMul"] == 2  # all patches at once
        assert not {"Loop", "Scan", "If", "NonZero"} & set(report.operators)
    assert counts[0] == counts[1] <= 120


def test_the_exported_graph_passes_the_checker(tmp_path: Path) -> None:
    onnx.checker.check_model(onnx.load(export(Small(), tmp_path / "small.onnx").path), full_check=True)
