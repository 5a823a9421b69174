"""A larger network begins where a smaller one ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from training.models.live import LiveNet, LiveSpec
from training.widen import main, widen

SMALL = LiveSpec(trunk=64, blocks=1)
LARGE = LiveSpec(trunk=64, blocks=1, pretrained=True)


def trained(spec: LiveSpec) -> LiveNet:
    torch.manual_seed(0)
    network = LiveNet(spec)
    for head in (network.to_matrix, network.to_curves, network.gain0):
        torch.nn.init.normal_(head.weight, std=0.1)
    network(torch.rand(8, 3, 32, 32), torch.rand(8, 1, 32, 32).round())
    return network.eval()


def test_it_computes_what_the_smaller_one_did() -> None:
    small, large = trained(SMALL), LiveNet(LARGE)
    found = widen(large, small.state_dict(), "small")
    assert found.wider == ["scale.running_mean", "scale.running_var", "enter.weight"]
    assert found.dropped == []
    assert all(name.startswith("backbone.") for name in found.new)
    rgb, mask = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32).round()
    with torch.no_grad():
        expected, _ = small(rgb, mask)
        received, _ = large.eval()(rgb, mask)
    torch.testing.assert_close(received.matrix, expected.matrix)
    torch.testing.assert_close(received.curves, expected.curves)
    torch.testing.assert_close(received.log_gain, expected.log_gain)
    assert large.scale.running_var is not None
    assert float(large.scale.running_var[-1]) == 1


def test_a_smaller_network_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"small: .*expected at most"):
        widen(LiveNet(LiveSpec(trunk=32, blocks=1)), trained(SMALL).state_dict(), "small")


@pytest.mark.parametrize(
    "change", [{"pixel_width": 96}, {"widths": (40, 96, 128, 256)}, {"trunk": 96}, {"controls": 16}, {"surfaces": 9}]
)
def test_a_part_of_another_size_is_refused(change: dict[str, Any]) -> None:
    small = replace(LARGE, surfaces=4)
    with pytest.raises(CheckpointError, match="what both have keeps its size"):
        widen(LiveNet(replace(small, **change)), trained(small).state_dict(), "small")


def test_the_command_tells_what_became_of_the_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, config, out = tmp_path / "old.safetensors", tmp_path / "large.toml", tmp_path / "new.safetensors"
    save_checkpoint(old, Checkpoint({"ema": trained(LiveSpec(trunk=64, blocks=2)).state_dict()}, {"model": "live"}))
    config.write_text(
        'model = "live"\n[live]\ntrunk = 64\nblocks = 1\ndropout = 0.1\n'
        '[data.tasks.same]\nshare = 1\n[[stages]]\nname = "only"\nsamples = 1\n'
    )
    assert main([str(old), str(config), str(out)]) == 0
    assert "left out: 6: blocks.1.down.bias" in capsys.readouterr().out
    assert load_checkpoint(out).meta["config"]["live"] == {"trunk": 64, "blocks": 1, "dropout": 0.1}
    config.write_text(config.read_text().replace("64", "48"))
    assert main([str(old), str(config), str(out)]) == 3
    assert main([str(old), "no_such", str(out)]) == 2
