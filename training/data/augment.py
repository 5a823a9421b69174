"""Which pairs a batch holds, and their making: the tasks of stream 1, drawn with numpy, filled in by one kernel.

A pair starts from one photograph, or a person over another scene. A change of light or colour gives a second version of
the *whole* picture; the composite has the person of one version over the background of the other, and the truth is the
other. So the two directions, a wrongly coloured person in a neutral scene and a neutral person in a coloured scene, are
the same pair read the other way. Tasks:

- `jitter`: the FFHQH recipe of PHNet (arXiv 2402.17561, section 3.2);
- `lights`: two measured lights;
- `tone`: exposure, white balance, gamma and contrast in linear light, with a change of saturation;
- `local`: dodge and burn, ramps and vignettes;
- `same`: no change at all, since a network must also learn to leave things alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.data.cache import CropCache
from training.data.edits import MILD, ROOMS, WIDE, ToneRange, draw_gains, draw_matrices, draw_tone_curves
from training.data.illuminants import Lights
from training.data.pair_kernel import make_pairs
from training.skin import SKIN_GROUPS, skin_group

__all__ = ["TASKS", "PairBatch", "PairMaker", "PairRecipe", "TaskRecipe"]

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

TASKS = ("jitter", "lights", "tone", "local", "same")

FLAGS = 22
"""Columns: 0 mirror person, 1 other scene, 2 mirror scene, 3 vary the world, 4 lights, 5 jitter, 6 change the scene
instead of the person, 7 kind of mask, 8-11 order of the jitter, 12 posterize, 13 sharpen, 14 autocontrast, 15 matrix,
16 curves, 17 gain, 18-19 shift of the mask, 20 another light on the world, 21 the own background, cleared
of the person."""

FLOATS = 7
"""Columns: brightness, contrast, saturation, hue, strength of the lights, sharpness, strength of the world's light."""

LIGHT_TRIES = 4


@dataclass(frozen=True)
class TaskRecipe:
    """How often a task occurs and what varies in it.

    Args:
        share: Weight among the tasks.
        scene: Share of pairs in which the scene has the change and the person is as photographed.
        swap: Share of pairs with another scene behind the person.
        local: Share of pairs with local light on top.
    """

    share: float
    scene: float = 0.0
    swap: float = 0.0
    local: float = 0.0


@dataclass(frozen=True)
class PairRecipe:
    """The mixture of tasks and masks.

    Args:
        tasks: By name.
        masks: Weights of the kinds of mask: matte, hard, grown, shrunk, shifted, blurred.
        world: Share of photographs whose overall tone is varied first.
        world_lights: Share of photographs that are first put under another measured light, person and scene alike.
        sharpness: Factor of RandomAdjustSharpness *at the crop's scale*; 4 at 256² leaves about 1.45 at 64².
        tone: Range of the `tone` task.
        mild: Share of the tasks `lights` and `tone` whose change is as small as that between two rooms.
        cleared: Share of the pairs over the own background in which it is cleared of the person first, as in a call:
            not even their outline is left in it, and no mask takes in a rim that was changed with them.
        wide: Share of the photographs whose overall tone is varied that are varied widely, as by night or fog: such a
            picture is no less of one piece for that.
        even_skin: Share of the pairs whose person is drawn evenly over the groups of skin tone, see `training.skin`.
    """

    tasks: dict[str, TaskRecipe] = field(
        default_factory=lambda: {
            "jitter": TaskRecipe(0.27, scene=0.1, swap=0.15, local=0.1),
            "lights": TaskRecipe(0.33, scene=0.55, swap=0.3, local=0.1),
            "tone": TaskRecipe(0.17, scene=0.75, swap=0.5, local=0.15),
            "local": TaskRecipe(0.07, scene=0.2, swap=0.2, local=1.0),
            "same": TaskRecipe(0.16, swap=0.3),
        }
    )
    masks: tuple[float, ...] = (0.25, 0.1, 0.4, 0.1, 0.08, 0.07)
    world: float = 0.3
    world_lights: float = 0.0
    sharpness: float = 1.45
    tone: ToneRange = field(default_factory=ToneRange)
    mild: float = 0.0
    cleared: float = 0.0
    wide: float = 0.0
    even_skin: float = 0.0


@dataclass(frozen=True)
class PairBatch:
    """A batch of pairs.

    Args:
        composite: (B, 3, S, S) float32, encoded sRGB, 0..1, RGB.
        mask: (B, 1, S, S) float32, 1 = person.
        truth: Like `composite`; equal to it wherever the mask is 0.
        task: (B,) index into `TASKS`.
        index: (B, K) places of the sampled foreground pixels in the flattened picture.
        weight: (B, K) float32, the mask there.
        pixels: (B, 2, 3, K) float32, those pixels of the composite and of the truth.
        moments: (B, 9) float32, mean, standard deviation and correlations of the true foreground.
    """

    composite: F32
    mask: F32
    truth: F32
    task: I64
    index: I64
    weight: F32
    pixels: F32
    moments: F32


class PairMaker:
    """Makes batch after batch; a batch depends on seed, rank and step alone, so that a run can be resumed exactly.

    Args:
        cache: Crops of portraits and scenes.
        lights: Measured lights.
        recipe: The mixture.
        seed: Of everything drawn.
        samples: Foreground pixels of each picture that the loss looks at.
    """

    def __init__(self, cache: CropCache, lights: Lights, recipe: PairRecipe, seed: int = 0, samples: int = 384) -> None:
        unknown = set(recipe.tasks) - set(TASKS)
        if unknown:
            raise ValueError(f"unknown tasks {sorted(unknown)}; known: {', '.join(TASKS)}")
        self.cache = cache
        self.lights = lights
        self.recipe = recipe
        self.seed = seed
        self.samples = samples
        self._groups = _skin_groups(cache) if recipe.even_skin else []

    def batch(self, count: int, step: int, rank: int = 0) -> PairBatch:
        """Draw and make `count` pairs for one step of one process."""
        rng = np.random.default_rng([self.seed, rank, step])
        task, flags = self._draw_tasks(rng, count)
        which = self._draw_pictures(rng, flags)
        kind = draw_tone_curves(rng, count, self.recipe.tone)
        floats = self._draw_floats(rng, count)
        if self.recipe.mild:
            mild = rng.random(count) < self.recipe.mild
            kind[mild] = draw_tone_curves(rng, count, ROOMS)[mild]
            floats[mild, 4] = rng.uniform(0.1, 0.6, count)[mild]
            flags[mild, 15] = 0
        size = self.cache.spec.size
        composite = np.empty((count, 3, size, size), np.float32)
        mask = np.empty((count, 1, size, size), np.float32)
        truth = np.empty_like(composite)
        index = np.empty((count, self.samples), np.int64)
        weight = np.empty((count, self.samples), np.float32)
        pixels = np.empty((count, 2, 3, self.samples), np.float32)
        moments = np.empty((count, 9), np.float32)
        pairs = rng.integers(0, len(self.lights), (count, LIGHT_TRIES + 1, 2))
        world = draw_tone_curves(rng, count, MILD)
        if self.recipe.wide:
            wide = rng.random(count) < self.recipe.wide
            world[wide] = draw_tone_curves(rng, count, WIDE)[wide]
        make_pairs(
            self.cache.portraits, self.cache.scenes, which, flags, pairs, floats,
            world, kind, draw_matrices(rng, count), draw_gains(rng, count),
            self.lights.to_standard, self.lights.from_standard, composite, mask, truth,
            rng.random(count, np.float32), index, weight, pixels, moments,
        )  # fmt: skip
        return PairBatch(composite, mask, truth, task, index, weight, pixels, moments)

    def _draw_tasks(self, rng: np.random.Generator, count: int) -> tuple[I64, I64]:
        recipes = [self.recipe.tasks.get(name, TaskRecipe(0.0)) for name in TASKS]
        shares = np.array([r.share for r in recipes])
        task = rng.choice(len(TASKS), count, p=shares / shares.sum())
        chance = np.array([[r.scene, r.swap, r.local] for r in recipes])[task]
        scene, swap, local = (rng.random((count, 3)) < chance).T
        flags = np.zeros((count, FLAGS), np.int64)
        flags[:, 0], flags[:, 2] = rng.random((2, count)) < 0.5
        flags[:, 1] = swap
        flags[:, 3] = rng.random(count) < self.recipe.world
        flags[:, 6] = scene
        flags[:, 20] = rng.random(count) < self.recipe.world_lights
        masks = np.array(self.recipe.masks)
        flags[:, 7] = rng.choice(len(masks), count, p=masks / masks.sum())
        jitter, lights, tone = (task == TASKS.index(name) for name in ("jitter", "lights", "tone"))
        flags[:, 4] = lights
        flags[:, 5] = jitter
        flags[:, 8:12] = np.argsort(rng.random((count, 4)), axis=1)
        flags[:, 12:15] = rng.random((count, 3)) < 0.5
        # a light is sometimes joined by a change of exposure, and a change of tone by one of saturation
        flags[:, 15] = tone & (rng.random(count) < 0.6)
        flags[:, 16] = tone
        flags[:, 17] = local
        flags[:, 18:20] = rng.integers(-1, 2, (count, 2))
        if self.recipe.cleared:
            cleared = ~swap & (rng.random(count) < self.recipe.cleared)
            flags[:, 21] = cleared
            # masks that reach beyond the person would take in a rim that was changed with them
            flags[cleared & np.isin(flags[:, 7], (2, 4, 5)), 7] = 0
        return task, flags

    def _draw_pictures(self, rng: np.random.Generator, flags: I64) -> I64:
        people, crops = self.cache.portraits.shape[:2]
        near = self.cache.spec.crops
        count, rooms = len(flags), len(self.cache.scenes)
        which = np.empty((count, 4), np.int64)
        which[:, 0] = rng.integers(0, people, count)
        if self._groups:
            even, group = rng.random(count) < self.recipe.even_skin, rng.integers(0, len(self._groups), count)
            for number, members in enumerate(self._groups):
                here = even & (group == number)
                which[here, 0] = rng.choice(members, int(here.sum()))
        which[:, 1] = np.where(flags[:, 1] == 1, rng.integers(0, crops, count), rng.integers(0, near, count))
        photo = rng.random(count) < (0.25 if rooms else 1.0)
        which[:, 2] = np.where(photo, rng.integers(0, people, count), rng.integers(0, max(rooms, 1), count))
        which[:, 3] = np.where(photo, rng.integers(0, near, count), -1)
        return which

    def _draw_floats(self, rng: np.random.Generator, count: int) -> F32:
        floats = np.empty((count, FLOATS), np.float32)
        for column, spread in enumerate((0.5, 0.4, 0.06)):
            floats[:, column] = rng.uniform(1 - spread, 1 + spread, count)
        floats[:, 3] = rng.uniform(-0.05, 0.05, count)
        floats[:, 4] = np.where(rng.random(count) < 0.6, 1.0, rng.uniform(0.4, 1.0, count))
        floats[:, 5] = self.recipe.sharpness
        floats[:, 6] = rng.uniform(0.2, 1.0, count)
        return floats


def _skin_groups(cache: CropCache) -> list[I64]:
    """Which people belong to each group of skin tone that has any, by their whole photographs."""
    names = []
    for crops in cache.portraits:
        whole = crops[0].astype(np.float32) / np.float32(255)
        names.append(skin_group(np.ascontiguousarray(whole[..., :3]), np.ascontiguousarray(whole[..., 3])))
    groups = [np.flatnonzero(np.array(names) == name) for name, _ in SKIN_GROUPS]
    return [members for members in groups if len(members)]
