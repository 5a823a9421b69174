"""Checkpoints: a round trip, another model, damage, a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)


def stepped() -> tuple[nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    for k in range(3):
        optimizer.zero_grad()
        layer(torch.full((4, 3), float(k + 1))).square().sum().backward()
        optimizer.step()
    return layer, optimizer


def test_a_round_trip_continues_exactly(tmp_path: Path) -> None:
    layer, optimizer = stepped()
    groups = {"model": layer.state_dict(), "optimizer": optimizer_tensors(optimizer)}
    save_checkpoint(tmp_path / "deep" / "a.safetensors", Checkpoint(groups, {"step": 3, "curve": [[1, {"a": 2.5}]]}))
    found = load_checkpoint(tmp_path / "deep" / "a.safetensors")
    assert found.meta == {"step": 3, "curve": [[1, {"a": 2.5}]]}
    other = nn.Linear(3, 2)
    load_weights(other, found.tensors["model"], "test")
    again = torch.optim.AdamW(other.parameters(), lr=0.1)
    restore_optimizer(again, found.tensors["optimizer"], "run")
    for network, stepper in ((layer, optimizer), (other, again)):
        stepper.zero_grad()
        network(torch.ones(1, 3)).sum().backward()
        stepper.step()
    torch.testing.assert_close(other.weight, layer.weight, atol=0, rtol=0)


@pytest.mark.parametrize("other", [nn.Linear(5, 2), nn.Linear(3, 2, bias=False)])
def test_an_optimizer_of_other_parameters_is_refused(other: nn.Module) -> None:
    _, optimizer = stepped()
    with pytest.raises(CheckpointError, match=r"run: the optimizer's state is of other parameters"):
        restore_optimizer(torch.optim.AdamW(other.parameters()), optimizer_tensors(optimizer), "run")


def test_half_precision_weights_are_widened() -> None:
    layer = nn.Linear(3, 2)
    load_weights(layer, {n: w.half() for n, w in layer.state_dict().items()}, "test")
    assert layer.weight.dtype == torch.float32


def test_another_model_is_named() -> None:
    weights = nn.Sequential(nn.Linear(3, 2)).state_dict()
    with pytest.raises(CheckpointError, match=r"a checkpoint of another model, 4 differences, first: weight: missing"):
        load_weights(nn.Linear(3, 2), weights, "x.safetensors")
    with pytest.raises(CheckpointError, match=r"weight: expected \(2, 5\), received \(2, 3\)"):
        load_weights(nn.Linear(5, 2), nn.Linear(3, 2).state_dict(), "x.safetensors")


def test_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(path)
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not json at all.")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(path)
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="without its header"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, Checkpoint({"model": {"w": torch.ones(2)}}, {"step": 1}))

    def full(tensors: object, filename: Path, metadata: object = None) -> None:
        Path(filename).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.checkpoint.save_file", full)
    with pytest.raises(OSError, match=r"No space left.*the previous one is untouched"):
        save_checkpoint(path, Checkpoint({"model": {"w": torch.zeros(2)}}, {"step": 2}))
    assert load_checkpoint(path).meta == {"step": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors"]
