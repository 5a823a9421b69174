"""One run: pairs, steps, averaged weights, looks and checkpoints, on one of several processes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from training.config import DataConfig, TrainConfig
from training.data.augment import PairMaker, PairRecipe, TaskRecipe
from training.data.cache import CacheSpec, CropCache, build_cache, list_portraits
from training.data.illuminants import Lights, load_lights
from training.dual import DualStream
from training.events import Events
from training.models.live import LiveNet
from training.models.phnet import PHNet
from training.objectives import build_objective, to_device
from training.schedule import build_optimizer, learning_rate, locate, set_learning_rate
from training.validation import Validation, scene_files
from training.world import World, run_device

__all__ = ["LAST", "DivergedError", "Progress", "Trainer"]

log = logging.getLogger(__name__)

EMA_STEPS = 4
"""The averaged weights are updated once in this many steps."""

LEAST_SCALE = 2.0**-10
"""Gradients that are no numbers in fp16 even when scaled by less than this, 26 halvings after the start, are none."""

LAST = "last.safetensors"
"""Name of the checkpoint in the folder of a run."""


class DivergedError(RuntimeError):
    """Loss or gradient is no longer a number; the last checkpoint is from before."""


@dataclass
class Progress:
    """What changes while a run goes, besides the weights.

    Args:
        step: Optimizer steps done.
        samples: Pairs seen, of both streams and all processes together.
        curve: Samples and validation scores, in order.
        stage: Number of the stage that the optimizer's state is of.
        earlier: Steps of the runs before this one, whose weights it began with; their pairs are not drawn again.
    """

    step: int = 0
    samples: int = 0
    curve: list[Any] = field(default_factory=list)
    stage: int = 0
    earlier: int = 0

    @property
    def draw(self) -> int:
        """Number of the next batch."""
        return self.earlier + self.step


def _recipe(data: DataConfig) -> PairRecipe:
    tasks = {str(name): TaskRecipe(**task.model_dump()) for name, task in data.tasks.items()}
    return PairRecipe(
        tasks,
        data.masks,
        data.world,
        data.world_lights,
        sharpness=data.sharpness,
        mild=data.mild,
        cleared=data.cleared,
        wide=data.wide,
        even_skin=data.even_skin,
    )


def _crops(data: DataConfig, root: Path, scenes: list[Path], cache: Path, rank: int) -> CropCache:
    """Open the cache; the first process builds it, the others wait for it."""
    spec = CacheSpec(data.size, data.crops, data.far_crops, data.scene_crops, neutral=data.neutral)
    files = list_portraits(root / data.portraits)[: data.limit]
    if dist.is_initialized() and rank > 0:
        dist.barrier()
    crops = build_cache(files, scenes, spec, cache)
    if dist.is_initialized() and rank == 0:
        dist.barrier()
    return crops


class Trainer:
    """One run on one process.

    Args:
        config: What to do.
        data: Folder that the configuration's paths are below.
        out: Folder of the run, which is there: checkpoint and TensorBoard events.
        cache: Folder of decoded crops.
        world: This process among the others.
    """

    def __init__(self, config: TrainConfig, data: Path, out: Path, *, cache: Path, world: World) -> None:
        self.config = config
        self.out = out
        self.world = world
        self.device = run_device(config)
        torch.manual_seed(config.run.seed)
        self.objective = build_objective(config)
        self.network = self.objective.build().to(self.device.name).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub
        self.ema = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.progress = Progress()
        scenes = scene_files(data, config.data.scenes)[: config.data.limit]
        crops = _crops(config.data, data, scenes, cache, world.rank)
        lights = load_lights(data / config.data.lights)
        self.pairs = PairMaker(crops, lights, _recipe(config.data), config.run.seed + 1, config.data.samples)
        self.validation = self._validation(data, scenes, lights, cache) if world.rank == 0 else None
        self.dual = self._dual(crops, lights)
        self._optimizer_state: dict[str, Tensor] | None = None
        self._scaler = torch.amp.GradScaler(enabled=self.device.dtype == torch.float16)

    def _validation(self, data: Path, scenes: list[Path], lights: Lights, cache: Path) -> Validation | None:
        folder = data / "portraits" / "val"
        if not folder.is_dir():
            log.warning("%s: no such folder, so nothing is validated", folder)
            return None
        count = min(256, self.config.data.limit or 256)
        return Validation(self.config, folder, scenes, lights, cache=cache, count=count)

    def _dual(self, crops: CropCache, lights: Lights) -> DualStream | None:
        if self.config.dual is None:
            return None
        run, samples = self.config.run, self.config.data.samples
        return DualStream(self.config.dual, crops, lights, device=self.device, seed=run.seed, samples=samples)

    def begin(self) -> None:
        """Begin from nothing, but for what a part of the network has learned elsewhere.

        Raises:
            FileNotFoundError: That is not installed.
        """
        if isinstance(self.network, LiveNet):
            self.network.load_pretrained()
            self.ema = {k: v.clone() for k, v in self.network.state_dict().items()}

    def restore(self, path: Path, weights_only: bool) -> None:
        """Continue the run of a checkpoint, or begin a new one with its averaged weights.

        Raises:
            CheckpointError: It cannot be read, or is of another model.
        """
        found = load_checkpoint(path)
        if found.meta.get("model") != self.config.model:
            raise CheckpointError(
                f"{path}: a checkpoint of {found.meta.get('model')!r}, expected {self.config.model!r}"
            )
        load_weights(self.network, found.tensors.get("ema" if weights_only else "model", {}), str(path))
        self.ema = {k: v.to(self.device.name, copy=True) for k, v in self.network.state_dict().items()}
        known = {f.name: found.meta[f.name] for f in fields(Progress) if f.name in found.meta}
        before = Progress(**known)
        if weights_only:
            self.progress = Progress(earlier=before.draw)
            return
        self.ema = {k: v.to(self.device.name) for k, v in found.tensors["ema"].items()}
        self._optimizer_state = self._unfinished(found, before, path)
        if self._scaler.is_enabled() and found.meta.get("scaler"):
            self._scaler.load_state_dict(found.meta["scaler"])
        self.progress = before
        if self.dual is not None and "critic" in found.tensors:
            load_weights(self.dual.critic, found.tensors["critic"], str(path))
            restore_optimizer(self.dual.optimizer, found.tensors["critic_optimizer"], str(path))

    def _unfinished(self, found: Checkpoint, before: Progress, path: Path) -> dict[str, Tensor] | None:
        """The optimizer's state of a stage that goes on; None where the next one begins, with an optimizer of its own.

        Raises:
            CheckpointError: The stage was begun with another optimizer.
        """
        position = locate(self.config, before.samples)
        if position is None or position.index != before.stage:
            return None
        mine, theirs = self.config.optimizer.name, found.meta["config"]["optimizer"]["name"]
        if mine != theirs:
            raise CheckpointError(
                f"{path}: stage {position.stage.name!r} was begun with {theirs!r}, expected {mine!r}; a stage that has "
                "begun keeps its optimizer, a new run may begin with these weights: --from"
            )
        return dict(found.tensors.get("optimizer", {}))

    def save(self, optimizer: torch.optim.Optimizer) -> None:
        """Write the checkpoint.

        Raises:
            OSError: The disk is full or the folder cannot be written; the previous checkpoint stays.
        """
        tensors = {"model": self.network.state_dict(), "ema": self.ema, "optimizer": optimizer_tensors(optimizer)}
        if self.dual is not None:
            tensors |= {
                "critic": self.dual.critic.state_dict(),
                "critic_optimizer": optimizer_tensors(self.dual.optimizer),
            }
        meta = {
            "model": self.config.model,
            "config": self.config.model_dump(mode="json"),
            "scaler": self._scaler.state_dict(),
            **asdict(self.progress),
        }
        save_checkpoint(self.out / LAST, Checkpoint(tensors, meta))

    def _save_if_possible(self, optimizer: torch.optim.Optimizer) -> None:
        """Write the checkpoint before the run ends; a full disk is logged, since it may have room the next time."""
        try:
            self.save(optimizer)
        except OSError as error:
            log.error("%s; training goes on", error)

    def run(self) -> Progress:
        """Train through all stages.

        Raises:
            DivergedError: Loss or gradient is not finite.
            OSError: The last checkpoint cannot be written.
        """
        events = Events(self.out / "events") if self.world.rank == 0 else None
        try:
            while (position := locate(self.config, self.progress.samples)) is not None:
                log.info("stage %r, %d samples", position.stage.name, position.stage.samples)
                self._stage(position.index, events)
        finally:
            if events is not None:
                events.close()
        return self.progress

    def _stage(self, index: int, events: Events | None) -> None:
        """Steps of one stage; the optimizer is new in each."""
        config, progress, run = self.config, self.progress, self.config.run
        stage = config.stages[index]
        if isinstance(self.network, PHNet):
            self.network.use_pfe = stage.pfe
            self.ema["pfe_share"].copy_(self.network.pfe_share)  # a switch has no average
        optimizer = build_optimizer(config.optimizer, self.network, stage)
        if self._optimizer_state:
            restore_optimizer(optimizer, self._optimizer_state, str(self.out / LAST))
        self._optimizer_state = None
        progress.stage = index
        forward = self._wrapped()
        step_samples = config.optimizer.batch * self.world.size
        checked = saved = time.monotonic()
        bar = tqdm(total=stage.samples, unit=" pairs", disable=None if self.world.rank == 0 else True)
        while (position := locate(config, progress.samples)) is not None and position.index == index:
            rate = learning_rate(config.optimizer, position, step_samples)
            set_learning_rate(optimizer, rate)
            terms, seen = self._step(forward, optimizer)
            progress.step += 1
            progress.samples += seen * self.world.size
            bar.update(seen * self.world.size)
            if progress.step % EMA_STEPS == 0:
                self._average()
            if events is None:
                continue
            if progress.step % run.log_steps == 0:
                self._log(events, terms | {"learning_rate": torch.tensor(rate)}, bar)
            if time.monotonic() - checked > 60 * run.validate_minutes:
                self._validate(events)
                checked = time.monotonic()
            if time.monotonic() - saved > 60 * run.checkpoint_minutes:
                self._save_if_possible(optimizer)
                saved = time.monotonic()
        bar.close()
        if events is not None:
            self._validate(events)
            if index + 1 == len(config.stages):
                self.save(optimizer)
            else:
                self._save_if_possible(optimizer)

    def _wrapped(self) -> nn.Module:
        network: nn.Module = self.network
        if self.config.run.compile:
            network = torch.compile(network)  # type: ignore[assignment]  # still a module
        if self.world.size == 1:
            return network
        ablated = any(value is False for value in self.config.live.values()) or self.dual is not None
        return DistributedDataParallel(network, find_unused_parameters=ablated)

    def _step(self, forward: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], int]:
        """One step of the optimizer; returns the parts of the loss, and how many pictures it was of."""
        config = self.config
        second = self._second_stream(forward)
        if second is not None:
            loss, terms, seen = second
        else:
            seen = config.optimizer.batch
            pairs = self.pairs.batch(seen, self.progress.draw, self.world.rank)
            outcome = self.objective.measure(forward, to_device(pairs, self.device), self.device)
            loss = outcome.loss
            terms = {"loss": loss.detach(), **outcome.terms, "fmse": outcome.fmse.mean()}
        self._check("loss", loss.detach(), terms)
        optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's own
        self._scaler.unscale_(optimizer)
        terms["gradient"] = nn.utils.clip_grad_norm_(self.network.parameters(), config.optimizer.clip).detach()
        # the scaler leaves out such a step by itself, and halves its scale; it would do so for ever
        if not self._scaler.is_enabled() or self._scaler.get_scale() < LEAST_SCALE:
            self._check("gradient", terms["gradient"], terms)
        self._scaler.step(optimizer)
        self._scaler.update()
        return terms, seen

    def _check(self, name: str, value: Tensor, terms: dict[str, Tensor]) -> None:
        """Stop before anything that is no number reaches the weights.

        Raises:
            DivergedError: The value is not finite.
        """
        if torch.isfinite(value):
            return
        parts = ", ".join(f"{k} {float(v):.3g}" for k, v in terms.items())
        kept = f"{self.out / LAST} is from before" if (self.out / LAST).exists() else "there is no checkpoint yet"
        raise DivergedError(
            f"step {self.progress.step}, {self.progress.samples} samples: the {name} is {float(value)} ({parts}); "
            f"{kept}; lower the learning rate and start again with the same --out"
        )

    def _second_stream(self, forward: nn.Module) -> tuple[Tensor, dict[str, Tensor], int] | None:
        """The adversarial loss, its parts and the size of the batch, when it is stream 2's turn; None otherwise."""
        if self.dual is None or self.progress.step % self.dual.config.every:
            return None
        draw, rank = self.progress.draw, self.world.rank
        critic = torch.tensor(self.dual.critic_step(self.network, draw, rank))
        if self.progress.step < self.dual.config.warmup:
            return None
        loss = self.dual.generator_loss(forward, draw, rank)
        return loss, {"critic": critic, "adversarial": loss.detach()}, self.dual.config.batch

    @torch.no_grad()
    def _average(self) -> None:
        """One step of the averaged weights; young averages forget faster."""
        decay = min(self.config.run.ema**EMA_STEPS, 1 - 1 / (1 + self.progress.step / (5 * EMA_STEPS)))
        state = self.network.state_dict()
        floating = [n for n, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.ema[n] for n in floating], [state[n] for n in floating], 1 - decay)

    @contextmanager
    def _averaged(self) -> Iterator[nn.Module]:
        """The network with the averaged weights, in evaluation mode."""
        own = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.ema)
        self.network.eval()
        try:
            yield self.network
        finally:
            self.network.load_state_dict(own)
            self.network.train()

    def _log(self, events: Events, terms: dict[str, Tensor], bar: tqdm[Any]) -> None:
        for name, value in terms.items():
            events.scalar(f"train/{name}", float(value), self.progress.samples)
        bar.set_postfix({k: f"{float(terms[k]):.4g}" for k in ("loss", "fmse", "adversarial") if k in terms})

    def _validate(self, events: Events) -> None:
        if self.validation is None:
            return
        with self._averaged() as network:
            found = self.validation.scores(self.objective, network, self.device)
            pictures = self.validation.pictures(self.objective, network, self.device)
        self.progress.curve.append([self.progress.samples, found])
        for name, scores in found.items():
            for key, value in scores.items():
                events.scalar(f"val/{name}/{key}", value, self.progress.samples)
        for name, picture in pictures.items():
            events.picture(f"val/{name}", picture, self.progress.samples)
        log.info("%d samples: %s", self.progress.samples, found)
