"""Scores of a network while it learns: fixed pairs of other people, one set for each thing it must do.

These are quick looks at the training size; `training.evaluate` gives the scores that count.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.data.augment import PairMaker, PairRecipe, TaskRecipe
from training.data.cache import PICTURE_SUFFIXES, CacheSpec, build_cache, list_portraits
from training.data.illuminants import Lights
from training.objectives import Device, Objective, composite_fmse, to_device

__all__ = ["VALIDATION_SETS", "Validation", "scene_files"]

log = logging.getLogger(__name__)

SOFT, GROWN = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0, 0.0, 0.0)

VALIDATION_SETS: dict[str, tuple[str, TaskRecipe, tuple[float, ...], float]] = {
    "jitter": ("jitter", TaskRecipe(1), SOFT, 0.0),
    "jitter_grown": ("jitter", TaskRecipe(1), GROWN, 0.0),
    "person_cast": ("lights", TaskRecipe(1), SOFT, 0.0),
    "scene_cast": ("lights", TaskRecipe(1, scene=1), SOFT, 0.0),
    "other_scene_cast": ("lights", TaskRecipe(1, scene=1, swap=1), SOFT, 0.0),
    "other_scene_tone": ("tone", TaskRecipe(1, scene=1, swap=1), SOFT, 0.0),
    "two_rooms": ("tone", TaskRecipe(1, scene=1), SOFT, 1.0),
    "two_rooms_other_scene": ("tone", TaskRecipe(1, scene=1, swap=1), SOFT, 1.0),
    "same": ("same", TaskRecipe(1), SOFT, 0.0),
    "same_other_scene": ("same", TaskRecipe(1, swap=1), SOFT, 0.0),
}
"""Task, what varies, mask, and share of small changes of each set."""

Scores = dict[str, dict[str, float]]


def scene_files(data: Path, folders: tuple[str, ...]) -> list[Path]:
    """The pictures of some folders below `data`, sorted; folders that do not exist give none, and are logged."""
    for folder in folders:
        if not (data / folder).is_dir():
            log.warning("%s: no such folder, so no scenes are taken from it", data / folder)
    return [p for f in folders for p in sorted((data / f).glob("*")) if p.suffix.lower() in PICTURE_SUFFIXES]


class Validation:
    """Fixed pairs, made once.

    Args:
        config: Size of the crops.
        portraits: Folder of people who are not trained on.
        scenes: Backgrounds.
        lights: Measured lights.
        cache: Where crops are kept.
        count: Pairs of each set.
    """

    def __init__(
        self, config: TrainConfig, portraits: Path, scenes: list[Path], lights: Lights, *, cache: Path, count: int = 256
    ) -> None:
        files = list_portraits(portraits)[: config.data.limit]
        crops = build_cache(files, scenes, CacheSpec(config.data.size, 3, 2, 3), cache)
        self._batches = {}
        for name, (task, recipe, masks, mild) in VALIDATION_SETS.items():
            if recipe.swap and not len(crops.scenes):
                continue
            pairs = PairRecipe({task: recipe}, masks, world=0.0, sharpness=config.data.sharpness, mild=mild)
            self._batches[name] = PairMaker(crops, lights, pairs, seed=77, samples=config.data.samples).batch(count, 0)

    @torch.no_grad()
    def scores(self, objective: Objective, network: nn.Module, device: Device, chunk: int = 64) -> Scores:
        """Mean and median fMSE (0..255, training size) of composite and network on each set."""
        found: Scores = {}
        for name, batch in self._batches.items():
            before, after = [], []
            whole = to_device(batch, Device())
            for start in range(0, len(batch.task), chunk):
                part = {k: v[start : start + chunk].to(device.name) for k, v in whole.items()}
                before.append(composite_fmse(part))
                after.append(objective.measure(network, part, device).fmse)
            was, now = torch.cat(before), torch.cat(after)
            found[name] = {
                "composite": round(float(was.mean()), 1),
                "fmse": round(float(now.mean()), 1),
                "median": round(float(now.median()), 1),
                "better": round(float((now < was).float().mean()), 3),
            }
        return found

    @torch.no_grad()
    def pictures(
        self, objective: Objective, network: nn.Module, device: Device, count: int = 8
    ) -> Mapping[str, Tensor]:
        """For each set one (3, 3·S, count·S) picture: composites, results, truths."""
        sheets = {}
        for name, batch in self._batches.items():
            part = {k: v[:count] for k, v in to_device(batch, device).items()}
            rows = [part["composite"], objective.harmonize(network, part), part["truth"]]
            sheets[name] = torch.cat([torch.cat(list(row), 2) for row in rows], 1).cpu()
        return sheets
