"""A judge that no model was trained against: how real do harmonized composites look to it?

    python -m training.judge train --data DATA --out judge.safetensors
    python -m training.judge score --data DATA --judge judge.safetensors supervised.onnx dual.onnx

It learns to tell photographs from composites of the training people and is then asked about composites of other people,
plain and harmonized. What it must not learn from is anything but the agreement of person and scene, so both classes see
the same scenes, half of all pictures have the light of the whole picture changed, the seam is hidden by the network
itself, and a composite is made in one of two ways: the person of a photograph under another light, or a person over the
background of another portrait whose own person is entirely covered.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn import functional
from tqdm import trange

from training.arguments import positive
from training.checkpoint import CheckpointError, load_weights
from training.data.cache import CacheSpec, build_cache, default_cache_dir, list_portraits
from training.data.illuminants import load_lights
from training.data.scenes import list_scenes, real_composites
from training.json_file import write_json
from training.judge_data import JudgeConfig, JudgeData, swapped
from training.metrics import blend
from training.models.discriminator import Judge
from training.predictors import check_names, load_live

__all__ = ["auc", "load_config", "load_judge", "rate", "save_judge", "train"]

U8Array = NDArray[np.uint8]
F32Array = NDArray[np.float32]


def load_config(path: Path | None) -> JudgeConfig:
    """Defaults, changed by the keys of a TOML file.

    Raises:
        ValueError: An unknown key, the known ones are named; or a value that is no number of its kind.
    """
    if path is None:
        return JudgeConfig()
    values = tomllib.loads(path.read_text("utf-8"))
    known = {f.name for f in fields(JudgeConfig)}
    if unknown := set(values) - known:
        raise ValueError(f"{path}: unknown keys {sorted(unknown)}; known are {', '.join(sorted(known))}")
    for name, default in asdict(JudgeConfig()).items():
        value = values.get(name, default)
        if not isinstance(value, type(default) if isinstance(default, int) else int | float) or value < 0:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise ValueError(f"{path}: {name}: expected {kind} from 0 on, received {value!r}")
    return JudgeConfig(**values)


def train(data: JudgeData, config: JudgeConfig) -> Judge:
    """Train a judge from scratch.

    Raises:
        FloatingPointError: The loss is no longer finite; the step is named.
    """
    torch.manual_seed(config.seed)
    judge = Judge(config.width, config.seam).train()
    optimizer = torch.optim.AdamW(judge.parameters(), config.lr, weight_decay=config.weight_decay)
    bar = trange(config.steps, desc="judge", disable=None)
    smooth = math.log(2)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        pictures, masks, labels = data.batch(step)
        loss = functional.binary_cross_entropy_with_logits(judge(pictures, masks), labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"judge: the loss is {value} at step {step}; lower lr")
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([loss])
        optimizer.step()
        smooth += 0.02 * (value - smooth)
        bar.set_postfix(loss=f"{smooth:.3f}")
    return judge.eval()


def save_judge(path: Path, judge: Judge, config: JudgeConfig) -> None:
    """Write weights and configuration; the file appears whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        save_file(judge.state_dict(), partial, metadata={"judge": json.dumps(asdict(config))})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"{path}: cannot write the judge: {error}") from error


def load_judge(path: Path) -> tuple[Judge, JudgeConfig]:
    """Read a judge.

    Raises:
        ValueError: The file is damaged, or holds another model.
    """
    try:
        with safe_open(path, "pt") as archive:
            metadata = archive.metadata() or {}
            state = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118  not a mapping
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: cannot be read as safetensors: {error}") from error
    if "judge" not in metadata:
        raise ValueError(f"{path}: expected a judge, received {len(state)} weights from {', '.join(list(state)[:2])}")
    try:
        config = JudgeConfig(**json.loads(metadata["judge"]))
        judge = Judge(config.width, config.seam)
        load_weights(judge, state, str(path))
    except (TypeError, ValueError, CheckpointError) as error:
        raise ValueError(f"{path}: a judge of another kind: {error}") from error
    return judge.eval(), config


def rate(judge: Judge, size: int, pictures: Sequence[tuple[F32Array, F32Array]]) -> NDArray[np.float64]:
    """Logit of each picture, higher = more real.

    Args:
        judge: In evaluation mode.
        size: Side it was trained at, pixels; pictures are squashed to it.
        pictures: (H, W, 3) and mask (H, W), float32, 0..1.
    """
    logits = []
    with torch.inference_mode():
        for rgb, mask in pictures:
            small, shape = (cv2.resize(a, (size, size), interpolation=cv2.INTER_AREA) for a in (rgb, mask))
            tensor = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))[None]
            logits.append(float(judge(tensor, torch.from_numpy(shape)[None, None])))
    return np.array(logits)


def auc(real: NDArray[np.float64], fake: NDArray[np.float64]) -> float:
    """Chance that a random real picture is rated above a random fake one; ties count one half."""
    difference = real[:, None] - fake[None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def _portraits(folder: Path, size: int) -> U8Array:
    spec = CacheSpec(size=size, crops=1, far_crops=0, scene_crops=1)
    cache = build_cache(list_portraits(folder), [], spec, default_cache_dir())
    return np.asarray(cache.portraits[:, 0])


def _train_command(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    lights = load_lights(options.data / "illuminants" / "ccharmony_train.npz")
    judge = train(JudgeData(_portraits(options.data / "portraits" / "train", config.size), lights, config), config)
    save_judge(options.out, judge, config)
    sys.stdout.write(f"{options.out}\n")


def _score_command(options: argparse.Namespace) -> None:
    judge, config = load_judge(options.judge)
    models = [load_live(path) for path in options.models]
    check_names(models)
    lights = load_lights(options.data / "illuminants" / "ccharmony_train.npz")
    folder = options.data / "portraits" / "val"
    portraits = _portraits(folder, 256)
    values = portraits.astype(np.float32) / np.float32(255)
    real = rate(judge, config.size, [(v[..., :3], v[..., 3]) for v in values])
    rooms = real_composites(
        list_portraits(folder), list_scenes(options.data / "backgrounds"), options.count, size_wh=(384, 256)
    )
    report: dict[str, object] = {"real": {"count": len(real), "mean": float(real.mean())}}
    lines = [f"{len(real)} photographs: mean logit {real.mean():.2f}", ""]
    for kind, composites in (("other portraits' backgrounds", swapped(portraits, lights, config)), ("rooms", rooms)):
        plain = rate(judge, config.size, [(c.rgb, c.alpha) for c in composites])
        lines += [f"## {len(composites)} people over {kind}", ""]
        lines += ["| | mean logit | real rated above it | rated above plain |", "| --- | --- | --- | --- |"]
        rows = {"plain": plain}
        for model in models:
            corrected = [blend(model.parameters(c.rgb, c.alpha).apply(c.rgb), c.rgb, c.alpha) for c in composites]
            pairs = [(p, c.alpha) for p, c in zip(corrected, composites, strict=True)]
            rows[model.name] = rate(judge, config.size, pairs)
        table = {}
        for name, rating in rows.items():
            error = rating.std(ddof=1) / math.sqrt(len(rating))
            above = float((rating > plain).mean())
            table[name] = {"mean": float(rating.mean()), "se": float(error), "auc": auc(real, rating), "above": above}
            lines.append(f"| {name} | {rating.mean():.2f} ± {error:.2f} | {auc(real, rating):.0%} | {above:.0%} |")
        report[kind] = table
        lines.append("")
    sys.stdout.write("\n".join(lines))
    if options.out:
        write_json(options.out, report)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 3 when data, judge or a model cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m training.judge", description="Train a judge, or ask it.")
    commands = parser.add_subparsers(required=True)
    teach = commands.add_parser("train", help="train a judge on photographs and composites")
    teach.set_defaults(command=_train_command)
    teach.add_argument("--config", type=Path, help="TOML with keys of JudgeConfig")
    teach.add_argument("--out", type=Path, required=True, help="file to write, .safetensors")
    ask = commands.add_parser("score", help="rate composites, plain and harmonized")
    ask.set_defaults(command=_score_command)
    ask.add_argument("models", type=Path, nargs="*", help="live models, .onnx or .safetensors")
    ask.add_argument("--judge", type=Path, required=True)
    ask.add_argument("--count", type=positive, default=120, help="people over rooms")
    ask.add_argument("--out", type=Path, help="JSON to write")
    for command in (teach, ask):
        command.add_argument("--data", type=Path, required=True, help="folder with portraits, illuminants, backgrounds")
        command.add_argument("--threads", type=positive, default=1)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    try:
        options.command(options)
    except (OSError, ValueError, FloatingPointError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
