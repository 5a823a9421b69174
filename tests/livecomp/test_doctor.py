from __future__ import annotations

from pathlib import Path

import pytest

from livecomp import doctor, models
from livecomp.cli import info
from livecomp.doctor import examine
from livecomp.pipewire.library import PipewireInfo


def test_it_ranks_engines_for_each_network_and_gives_reasons() -> None:
    report = examine()
    networks = {network.name: network for network in report.networks}
    live = networks["live"]
    assert live.state == "fine"
    assert any(row.startswith("onnxruntime fp32") for row in live.engines)
    assert all(reason for reason in live.skipped.values())
    for backend in report.engines:
        assert bool(backend.found) != bool(backend.reason)
    assert report.system["numpy"]
    assert report.system["frames"].startswith(("on the CPU: ", "on the GPU, by "))


def test_a_damaged_network_is_named_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "live.onnx"
    broken.write_bytes(b"damaged")
    real_file = models._file
    monkeypatch.setattr(models, "_file", lambda spec: broken if spec is models.MODELS["live"] else real_file(spec))
    report = examine(measure=False)
    live = next(network for network in report.networks if network.name == "live")
    assert "damaged" in live.state
    assert any("live" in sentence for sentence in report.advice)


@pytest.mark.parametrize(
    ("platform", "pipewire", "words", "listed"),
    [
        ("linux", PipewireInfo(trouble="not here"), "no virtual camera; run: livecomp setup v4l2", "no virtual camera"),
        ("linux", PipewireInfo("1.2.3"), "in PipeWire see LiveComp; for others", "LiveComp (PipeWire 1.2.3)"),
        ("darwin", PipewireInfo(trouble="not here"), "livecomp[virtualcam]", "`livecomp run` finds that of OBS"),
    ],
)
def test_each_system_is_told_of_its_virtual_camera(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    platform: str,
    pipewire: PipewireInfo,
    words: str,
    listed: str,
) -> None:
    for name in ("list_cameras", "list_virtual_cameras"):
        monkeypatch.setattr(doctor, name, lambda root: [])
    monkeypatch.setattr(doctor, "find_pipewire", lambda: pipewire)
    monkeypatch.setattr(doctor, "find_spec", lambda name: None, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    report = examine(measure=False)
    assert any(words in sentence for sentence in report.advice)
    info._print_devices([], [], report.pipewire)
    assert listed in capsys.readouterr().out


def test_what_is_long_is_broken_into_lines_and_not_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ("folder" * 10)))
    monkeypatch.setenv("COLUMNS", "80")
    info.doctor(measure=False)
    told = capsys.readouterr().out
    assert "Networks" in told
    assert "…" not in told
