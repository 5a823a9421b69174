"""Run one model on every backend that works here: ``python -m tools.compare_backends MODEL``.

MODEL is an ONNX file, or ``harmonizer-size`` for a network of 5.1 M parameters and 1.5 G multiply-adds, made here.
All runners are measured in turn within one run, so that other work on the machine disturbs all alike. Writes
``backends--MODEL--MACHINE.json`` and a table beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine import BACKENDS, EngineError, Options, TensorMap
from engine.backend import Backend, Probe
from engine.backends.tensorrt_build import PORTABLE, BuildOptions, build_plan, import_tensorrt
from engine.machine import cpu_features, cpu_name, gpu_fingerprint, process_memory_mib
from engine.model_file import ModelFile
from engine.model_runner import ModelRunner
from engine.spec import ModelSpec
from engine.timing import measure_together
from training.arguments import positive

MADE = "harmonizer-size"
RESULTS = Path(__file__).parent / "results"
PORTRAIT = Path(__file__).parents[1] / "livecomp" / "assets" / "astronaut.jpg"


@dataclass
class Row:
    """One backend in one precision; numbers are None where it did not run."""

    backend: str
    precision: str
    note: str = ""
    max_difference: float | None = None
    mean_difference: float | None = None
    relative_difference: float | None = None
    psnr_db: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None
    fastest_ms: float | None = None
    memory_mib: float | None = None
    open_s: float | None = None
    engine_bytes: int | None = None
    report: dict[str, str] = field(default_factory=dict)


def differences(row: Row, received: TensorMap, expected: TensorMap) -> None:
    """Fill in how far a result lies from the reference; the peak of PSNR is the reference's largest magnitude."""
    got = np.concatenate([np.asarray(received[name], np.float64).ravel() for name in expected])
    want = np.concatenate([np.asarray(value, np.float64).ravel() for value in expected.values()])
    apart = np.abs(got - want)
    peak = max(float(np.abs(want).max()), 1e-3)
    row.max_difference, row.mean_difference = float(apart.max()), float(apart.mean())
    row.relative_difference = float(apart.max()) / peak
    mse = float(np.square(apart).mean())
    row.psnr_db = None if mse == 0 else 10 * float(np.log10(peak**2 / mse))


def realistic_feed(spec: ModelSpec) -> TensorMap:
    """The portrait that ships with the package for every picture, squashed; a soft ellipse for masks."""
    feed = spec.smooth_feed()
    for name, array in feed.items():
        if array.ndim == 4 and array.shape[:2] == (1, 3):
            bgr = cv2.imread(str(PORTRAIT))
            if bgr is None:
                raise SystemExit(f"the portrait {PORTRAIT} cannot be read")
            small = cv2.resize(bgr, (array.shape[3], array.shape[2]), interpolation=cv2.INTER_AREA)
            feed[name] = np.ascontiguousarray(small[..., ::-1].transpose(2, 0, 1)[None], dtype=array.dtype) / 255
    return feed


def make_harmonizer_size(folder: Path) -> Path:
    """A network with the live harmonizer's cost: 5.1 M parameters, 1.5 G multiply-adds, at 256x256."""
    import torch
    from torch import nn

    from engine.export import export_onnx

    torch.manual_seed(0)
    widths = (4, 48, 104, 128, 192, 256)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.ReLU(), nn.Conv2d(after, after, 3, 1, 1), nn.ReLU()]
    layers += [nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 5260), nn.ReLU(), nn.Linear(5260, 105)]
    network = nn.Sequential(*layers).eval()
    path = folder / f"{MADE}.onnx"
    export_onnx(
        network, path, inputs={"input": torch.rand(1, 4, 256, 256)}, outputs=["output"], model=MADE, version="1",
        meaning={"input": "(1, 4, 256, 256) RGB and mask, 0..1"},
    )  # fmt: skip
    return path


def overhead_ms(model: ModelFile, spec: ModelSpec, feed: TensorMap, rounds: int) -> float:
    """What `ModelRunner` adds to a run, milliseconds: the fastest run of a program that does nothing."""
    outputs = {t.name: np.zeros(tuple(1 if s is None else s for s in t.shape), t.dtype) for t in spec.outputs}

    class Nothing:
        def __init__(self) -> None:
            self.spec = spec
            self.report: dict[str, str] = {}

        def run(self, _: TensorMap) -> TensorMap:
            return outputs

        def close(self) -> None:
            pass

    backend = Backend("nothing", "", "", ("fp32",), lambda: Probe("", "", ("fp32",)), lambda _m, _o: Nothing())
    with ModelRunner(backend, model.path, Options()) as runner:
        (latency,) = measure_together([runner], feed, rounds=rounds)
    assert not isinstance(latency, EngineError)
    return latency.fastest_ms


def build_only(model: ModelFile) -> list[Row]:
    """TensorRT-RTX without a GPU: what it builds, for Turing to Blackwell."""
    rows = []
    for precision in ("fp16", "bf16", "fp32"):
        row = Row("tensorrt_rtx (build)", precision)
        rows.append(row)
        targets = PORTABLE if precision == "fp16" else PORTABLE[1:]  # Turing has neither bf16 nor fp32 products here
        try:
            trt = import_tensorrt("tensorrt_rtx")
            begin = time.monotonic()
            plan, _ = build_plan(trt, model, BuildOptions(precision=precision, targets=targets))
        except EngineError as error:
            row.note = str(error)
            continue
        row.open_s, row.engine_bytes = time.monotonic() - begin, len(plan)
        row.note = f"built for {', '.join(targets)}"
        row.report = {"version": str(trt.__version__)}
    return rows


def compare(path: Path, *, threads: int, rounds: int, only: list[str]) -> dict[str, Any]:
    """Everything that is known about a model here, ready for JSON."""
    model = ModelFile.read(path)
    rows: list[Row] = []
    with ExitStack() as opened:
        running: list[tuple[Row, ModelRunner]] = []
        for name, backend in BACKENDS.items():
            if only and name not in only:
                continue
            try:
                precisions = backend.probe().precisions
            except EngineError as error:
                rows.append(Row(name, "", note=str(error)))
                continue
            for precision in precisions:
                row = Row(name, precision)
                rows.append(row)
                runner = ModelRunner(backend, path, Options(threads=threads, precision=precision))
                before, begin = process_memory_mib(), time.monotonic()
                try:
                    runner.open()
                except EngineError as error:
                    row.note = str(error)
                    continue
                opened.callback(runner.close)
                row.open_s, row.memory_mib = time.monotonic() - begin, process_memory_mib() - before
                row.report = dict(runner.report)
                running.append((row, runner))
        if not running:
            raise SystemExit(f"no backend can run {path}: " + "; ".join(f"{row.backend}: {row.note}" for row in rows))
        reference = next((r for _, r in running if r.name == "onnxruntime"), running[0][1])
        feed = realistic_feed(reference.spec)
        expected = reference.infer(feed)
        latencies = measure_together([runner for _, runner in running], feed, rounds=rounds)
        for (row, runner), latency in zip(running, latencies, strict=True):
            if isinstance(latency, EngineError):
                row.note = str(latency)
                continue
            differences(row, runner.infer(feed), expected)
            row.median_ms, row.p95_ms, row.fastest_ms = latency.median_ms, latency.p95_ms, latency.fastest_ms
        added = overhead_ms(model, reference.spec, feed, rounds)
    if not only or "tensorrt_rtx" in only:
        rows += build_only(model)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "model": path.name, "sha256": model.sha256, "bytes": len(model.data), "reference": reference.name,
        "machine": {"cpu": cpu_name(), "features": cpu_features(), "gpu": gpu_fingerprint(),
                    "system": platform.platform(), "python": platform.python_version()},
        "date": datetime.now(UTC).date().isoformat(), "threads": threads, "rounds": rounds,
        "load_average": round(load, 1), "quiet": load < 1.5, "wrapper_overhead_ms": added,
        "rows": [asdict(row) for row in rows],
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The result in markdown."""
    columns = (
        ("max diff", "max_difference", ".1e"), ("mean diff", "mean_difference", ".1e"),
        ("relative", "relative_difference", ".1e"), ("PSNR dB", "psnr_db", ".1f"), ("median ms", "median_ms", ".2f"),
        ("p95 ms", "p95_ms", ".2f"), ("fastest ms", "fastest_ms", ".2f"), ("memory MiB", "memory_mib", ".0f"),
        ("engine bytes", "engine_bytes", "d"),
    )  # fmt: skip
    quiet = "" if result["quiet"] else ", **measured under load: only ratios mean something**"
    lines = [
        f"## {result['model']} ({result['bytes']} bytes)",
        "",
        f"{result['machine']['cpu']}, {result['threads']} thread(s), {result['rounds']} runs each in turn, load "
        f"average {result['load_average']}{quiet}. Differences from {result['reference']}. The wrapper adds "
        f"{result['wrapper_overhead_ms']:.3f} ms.",
        "",
        f"| {' | '.join(('backend', 'precision', *(title for title, _, _ in columns), 'note'))} |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for row in result["rows"]:
        numbers = ["" if row[key] is None else format(row[key], kind) for _, key, kind in columns]
        note = row["note"].replace("|", "/").replace("\n", " ")
        lines.append(f"| {row['backend']} | {row['precision']} | {' | '.join(numbers)} | {note} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 3 when the model or the output cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m tools.compare_backends", description=__doc__.splitlines()[0])
    parser.add_argument("model", help=f"an ONNX file, or {MADE}")
    parser.add_argument("--threads", type=positive, default=1, help="upper bound on CPU threads (default 1)")
    parser.add_argument("--rounds", type=positive, default=200, help="runs of each backend (default 200)")
    parser.add_argument(
        "--backend", action="append", default=[], choices=list(BACKENDS), help="only this one; may be repeated"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the result files")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        try:
            options.output.mkdir(parents=True, exist_ok=True)  # told now, not after the work
            path = make_harmonizer_size(Path(folder)) if options.model == MADE else Path(options.model)
            result = compare(path, threads=options.threads, rounds=options.rounds, only=options.backend)
        except (EngineError, OSError) as error:
            sys.stderr.write(f"{error}\n")
            return 3
    machine = re.sub(r"[^a-z0-9]+", "-", result["machine"]["cpu"].lower()).strip("-")
    stem = f"backends--{Path(result['model']).stem}--{machine}"
    (options.output / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    text = table(result)
    (options.output / f"{stem}.md").write_text(text, "utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
