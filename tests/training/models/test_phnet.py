"""PHNet: published sizes, masks of every kind, and the export."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from training.models.count import count_macs
from training.models.count import main as count_main
from training.models.phnet import PHNet, PHNetConfig, build_phnet, parameter_count

SMALL = PHNetConfig("small", (8, 8, 16, 16, 16, 32))


def small(pfe: bool = True) -> PHNet:
    torch.manual_seed(0)
    return PHNet(SMALL, pfe)


def inputs(batch: int = 2, height: int = 40, width: int = 48) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    composite = torch.rand(batch, 3, height, width, generator=generator)
    mask = torch.zeros(batch, 1, height, width)
    mask[:, :, 8:, 10:30] = 1
    return composite, mask


@pytest.mark.parametrize(("name", "millions", "giga_macs"), [("phnet_40m", 39.92, 49.3), ("phnet_10m", 9.99, 12.5)])
def test_published_counts(name: str, millions: float, giga_macs: float) -> None:
    model = build_phnet(name)
    macs = 16 * count_macs(model, torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
    assert parameter_count(model) / 1e6 == pytest.approx(millions, rel=0.02)
    assert macs / 1e9 == pytest.approx(giga_macs, rel=0.02)


def test_normalization_sits_where_the_paper_puts_it() -> None:
    decoder = build_phnet("phnet_10m").decoder
    grids = [layer.patch_norm.grid if layer.patch_norm is not None else None for layer in decoder]  # type: ignore[union-attr]
    assert grids == [None, None, None, 3, 4, 5]
    assert [layer.batch_norm is not None for layer in decoder] == [True, True, True, False, False, False]


def test_background_is_untouched_and_the_person_is_not() -> None:
    composite, mask = inputs()
    out = small()(composite, mask)
    assert torch.equal(out * (1 - mask), composite * (1 - mask))
    assert ((out - composite).abs() * mask).max() > 0.01
    assert out.min() >= 0
    assert out.max() <= 1


def test_batch_of_two_equals_two_of_one() -> None:
    model, (composite, mask) = small().eval(), inputs()
    with torch.no_grad():
        together = model(composite, mask)
        apart = torch.cat([model(composite[i : i + 1], mask[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["person", "nobody", "soft", "binary"])
def test_output_and_gradients_are_finite_for_any_mask(kind: str) -> None:
    model, (composite, binary) = small(), inputs()
    mask = {
        "person": torch.ones_like(binary),
        "nobody": torch.zeros_like(binary),
        "soft": torch.rand(binary.shape, generator=torch.Generator().manual_seed(2)),
        "binary": binary,
    }[kind]
    out = model(composite, mask)
    out.square().mean().backward()
    assert torch.isfinite(out).all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    if kind == "nobody":
        assert torch.equal(out, composite)


def test_extractor_changes_the_gate_only_when_used() -> None:
    composite, mask = inputs()
    with_pfe, without = small(pfe=True).eval(), small(pfe=False).eval()
    without.load_state_dict(with_pfe.state_dict())
    assert without.use_pfe, "checkpoints hold the switch"
    without.use_pfe = False
    with torch.no_grad():
        assert not torch.allclose(with_pfe(composite, mask), without(composite, mask))
        with_pfe.use_pfe = False
        torch.testing.assert_close(with_pfe(composite, mask), without(composite, mask))


def test_a_few_steps_learn() -> None:
    model, (composite, mask) = small(), inputs()
    target = torch.where(mask > 0, composite * 0.5, composite)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = (model(composite, mask) - target).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_unknown_size_names_the_known() -> None:
    with pytest.raises(ValueError, match="phnet_40m, phnet_10m"):
        build_phnet("phnet_1b")


def test_macs_of_simple_layers_by_hand() -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, 2, 1), torch.nn.ConvTranspose2d(4, 3, 4, 2, 1), torch.nn.Linear(8, 5)
    ).train()
    # 16 output pixels · 2·4·9, then 16 input pixels · 4·3·16, then 3·8 rows · 8·5
    assert count_macs(model, torch.zeros(1, 2, 8, 8)) == 16 * 72 + 16 * 192 + 24 * 40
    assert model.training, "the network is left as it was"


def test_count_command_states_parameters_and_macs_and_writes_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "phnet.onnx"
    count_main(["phnet_10m", "--size", "64", "--onnx", str(path)])
    out = capsys.readouterr().out
    assert "10.00 M parameters" in out
    assert "0.8 G multiply-adds at 64 x 64" in out
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert {i.name: i.shape for i in session.get_inputs()} == {"composite": [1, 3, 64, 64], "mask": [1, 1, 64, 64]}


@pytest.mark.parametrize("size", ["100", "8", "-8"])
def test_count_command_refuses_sizes_that_phnet_cannot_take(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        count_main(["phnet_10m", "--size", size])
    assert f"--size: expected a multiple of 8 from 16 on, received {size}" in capsys.readouterr().err


def test_count_command_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"phnet\.onnx: not written: "):
        count_main(["phnet_10m", "--size", "64", "--onnx", str(tmp_path / "file" / "phnet.onnx")])


def test_export_runs_elsewhere(tmp_path: Path) -> None:
    model, (composite, mask) = small().eval(), inputs(1, 64, 64)
    path = tmp_path / "phnet.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            model, (composite, mask), path, input_names=["composite", "mask"], output_names=["picture"], verbose=False
        )
    assert len(onnx.load(path).graph.node) < 550, "491 were counted, of any width"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (picture,) = session.run(None, {"composite": composite.numpy(), "mask": mask.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(picture, model(composite, mask).numpy(), atol=1e-4)
