"""A running call: capture, work and presentation, each in its own thread, joined by one-slot mailboxes.

::

    livecomp-capture --Frame--> [slot] --> livecomp-work --Composite--> [slot] --> livecomp-present --> sinks
                                                ^
                                          livecomp-steer: viewers and governor

Frames of a live source carry monotonic time, so the age of a picture is known everywhere.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Protocol, TypeVar

from livecomp.background import Background, fit_to
from livecomp.capture import LiveSource
from livecomp.composite.slate import make_slate
from livecomp.config import BackgroundConfig, Config, Stages
from livecomp.errors import ConfigError, LiveCompError
from livecomp.frame import Composite, Frame
from livecomp.live import Action, LiveStatus
from livecomp.live.capturer import Capturer
from livecomp.live.governor import GPU_STEPS, STEPS, Governor
from livecomp.live.mailbox import Mailbox
from livecomp.live.presenter import Presenter
from livecomp.live.tolerant import Scene, TolerantHarmonizer
from livecomp.live.worker import Worker
from livecomp.media.image import read_image
from livecomp.output import Sink
from livecomp.pipeline import Pipeline
from livecomp.segment.presence import PresenceFilter
from livecomp.stats import StageTimer
from livecomp.threads import trim_heaps

__all__ = ["LiveSession", "StageBuilder", "Watch"]

log = logging.getLogger(__name__)

_STEER_S = 0.2
_SETTLED_S = 2.0
"""After a change, and the fade that belongs to it, until what it needed has been freed."""
_FIXED = ("camera", "device", "width", "height", "fps")
_STAGES = ("segment", "harmonize", "smooth", "composite", "compute")
"""Sections of the configuration that stages are made of, but for the background."""
_ANY_SCENE = BackgroundConfig(source="black")
"""In place of one that stays."""
_STATES: dict[Action, str] = {"freeze": "frozen", "slate": "slate", "pause": "paused"}
_SLATE_TEXT: dict[Action, str] = {
    "resume": "one moment",
    "freeze": "one moment",
    "slate": "back soon",
    "pause": "back soon",
}


class Watch(Protocol):
    """Says whether anybody looks at the virtual camera."""

    def watched(self) -> bool:
        """Whether somebody does; True when it cannot be known."""
        ...

    def close(self) -> None:
        """Release it; harmless when repeated."""
        ...


class StageBuilder(Protocol):
    """Makes the stages of a configuration, as `Config.build` does."""

    def __call__(self, config: Config, /, *, presence: PresenceFilter) -> Stages:
        """The stages, none of them open."""
        ...


class LiveSession:
    """A call. See `livecomp.live.Session` for what may be done to it while it runs.

    Args:
        config: All options.
        source: Opened and closed here, again and again while it fails.
        sinks: The first is the virtual camera.
        watch: When given and `live.ondemand`, camera and networks sleep while nobody watches.
        device: Names the virtual camera.
        build: Makes the stages of a configuration.
    """

    def __init__(
        self,
        config: Config,
        *,
        source: LiveSource,
        sinks: Sequence[Sink],
        watch: Watch | None = None,
        device: Callable[[], str] = lambda: "",
        build: StageBuilder = Config.build,
    ) -> None:
        self._config = config
        self._watch = watch
        self._device = device
        self._build = build
        # of the call and not of a segmenter: after a change nobody has to be looked for anew
        self._presence = PresenceFilter()
        self._governor = Governor()
        self._timer = StageTimer()
        self._slates: dict[Action, Composite] = {}
        self._lock = threading.RLock()
        self._action: Action = "resume"
        self._in_effect = self._governor.step.limit(config)
        stages = build(self._in_effect, presence=self._presence)
        self._scene, self._harmonizer = Scene(stages.background), TolerantHarmonizer(stages.harmonizer)
        stages = replace(stages, background=self._scene, harmonizer=self._harmonizer)
        self._frames: Mailbox[Frame] = Mailbox()
        size_wh = (config.live.width, config.live.height)
        self._capturer = Capturer(source, self._frames, size_wh=size_wh, timer=self._timer)
        self._presenter = Presenter(sinks, self._slate, stall_ms=config.live.stall_ms, timer=self._timer)
        self._pipeline = Pipeline(stages, on_miss="slate", harmonize_every=self._in_effect.live.harmonize_every)
        self._worker = Worker(self._pipeline, self._frames, self._presenter.inbox)
        self._worker.shortest_ns = _shortest_ns(self._in_effect)
        self._stopping = threading.Event()
        self._steering: threading.Thread | None = None
        self._trim_s = math.inf

    @property
    def config(self) -> Config:
        """See `Session.config`."""
        return self._config

    def start(self) -> None:
        """Show a slate, load everything, and begin; what is to change meanwhile waits until everything is loaded.

        Raises:
            LiveCompError: A sink, a network or the background cannot be had; everything is closed again, as it is
                whatever else goes wrong.
        """
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise

    def _begin(self) -> None:
        with self._lock:
            self._slates = _make_slates(self._config)
            self._presenter.start()
            self._presence.open()
            self._pipeline.open((self._config.live.width, self._config.live.height))
            self._worker.start()
        self._wake_or_sleep()
        self._capturer.start()
        self._trim_s = time.monotonic() + _SETTLED_S
        self._steering = threading.Thread(target=self._steer, name="livecomp-steer", daemon=True)
        self._steering.start()

    def stop(self) -> None:
        """End all threads and close everything; harmless when repeated."""
        self._stopping.set()
        if self._steering is not None:
            self._steering.join()
            self._steering = None
        self._capturer.stop()
        ended = self._worker.stop()
        self._presenter.stop()
        if ended:
            self._pipeline.close()
            self._presence.close()
        if self._watch is not None:
            self._watch.close()

    def act(self, action: Action) -> None:
        """See `Session.act`."""
        self._action = action
        self._presenter.act(action)
        self._wake_or_sleep()

    def apply(self, config: Config) -> None:
        """See `Session.apply`; waits until the change holds, which takes a frame's time once everything is loaded.

        Raises:
            LiveCompError: See `Session.apply`; a `ConfigError` for what cannot change while a call runs.
        """
        with self._lock:
            for name in _FIXED:
                old, new = getattr(self._config.live, name), getattr(config.live, name)
                if old != new:
                    raise ConfigError(f"live.{name} cannot change from {old} to {new} while a call runs; start it anew")
            # files of what stays are not looked at again: they may be gone by now
            slates = self._slates if config.live.slate == self._config.live.slate else _make_slates(config)
            step = self._governor.step if config.live.adapt else self._governor.steps[0]
            self._enter(step.limit(config), fade_ms=config.live.fade_ms)
            if not config.live.adapt:
                self._governor = Governor(self._governor.steps)
            self._config, self._slates = config, slates
            self._presenter.stall_ms = config.live.stall_ms
        self._wake_or_sleep()

    def forget_timings(self) -> None:
        """Time the stages anew: what came before was warm-up."""
        self._timer.forget()
        self._pipeline.timer.forget()

    def status(self) -> LiveStatus:
        """See `Session.status`."""
        presenter, recent = self._presenter, self._presenter.recent()
        live = self._config.live
        return LiveStatus(
            state=self._state(),
            detail=self._detail(),
            camera=self._capturer.camera,
            device=self._device(),
            size_wh=(live.width, live.height),
            fps=round(recent.fps, 1),
            latency_ms=(round(recent.p50_ms, 1), round(recent.p95_ms, 1)),
            captured=self._capturer.captured,
            shown=presenter.shown,
            dropped=self._frames.dropped + presenter.inbox.dropped,
            slates=presenter.slates,
            missed=self._pipeline.missed,
            step=self._governor.step.name,
            stages=[*self._timer.summary(), *self._pipeline.timer.summary()],
        )

    @property
    def _is_loading(self) -> bool:
        return self._steering is None and not self._stopping.is_set()

    def _state(self) -> str:
        if self._stopping.is_set():
            return "stopped"
        if self._is_loading:
            return "starting"
        if self._action in _STATES:
            return _STATES[self._action]
        if not self._capturer.is_awake:
            return "sleeping"
        if self._capturer.trouble:
            return "no camera" if self._capturer.captured else "starting"
        if self._presenter.is_stalled:
            return "stalled" if self._presenter.shown else "starting"
        return "live"

    def _detail(self) -> str:
        if self._is_loading:
            return "networks and scene are being loaded"
        is_awake = self._capturer.is_awake
        if self._action != "pause" and not is_awake:
            return "nobody watches"
        troubles = (
            self._presenter.trouble,
            self._capturer.trouble if is_awake else "",
            self._worker.trouble,
            self._scene.trouble,
            self._harmonizer.trouble,
        )
        return next((trouble for trouble in troubles if trouble), "")

    def _steer(self) -> None:
        """Follow the viewers and keep frames in time."""
        while not self._stopping.wait(_STEER_S):
            self._wake_or_sleep()
            self._fit_governor()
            self._trim()
            live = self._config.live
            if not live.adapt or self._state() != "live":
                continue
            recent = self._presenter.recent()
            if recent.fps and self._governor.update(time.monotonic_ns(), recent.p95_ms, live.budget_ms):
                self._take_step()

    def _fit_governor(self) -> None:
        """Have the steps that suit what processes frames now, which may have changed."""
        steps = STEPS if self._pipeline.stages.whole is None else GPU_STEPS
        if self._governor.steps == steps:
            return
        with self._lock:
            was_full = self._governor.step == self._governor.steps[0]
            self._governor = Governor(steps)
            if not was_full:
                self._take_step()

    def _trim(self) -> None:
        """Give back what loading and changing have left."""
        with self._lock:
            due = time.monotonic() >= self._trim_s
            if due:
                self._trim_s = math.inf
        if due:
            start = time.monotonic()
            trim_heaps()
            log.debug("what changing left behind was given back in %.1f ms", 1000 * (time.monotonic() - start))

    def _take_step(self) -> None:
        with self._lock:
            step = self._governor.step
            log.info("cost of a frame: %s", step.name)
            try:
                self._enter(step.limit(self._config), fade_ms=0)
            except LiveCompError as error:
                log.warning("the step %r is left out: %s", step.name, error)

    def _wake_or_sleep(self) -> None:
        watched = self._watch is None or not self._config.live.ondemand or self._watch.watched()
        awake = watched and self._action != "pause"
        self._presenter.is_idle = not awake
        if awake:
            self._capturer.wake()
        else:
            self._capturer.sleep()

    def _enter(self, wanted: Config, *, fade_ms: int) -> None:
        """Open what differs from what is in effect, and put it in between two frames."""
        present, before = self._in_effect, self._pipeline.stages
        stays = wanted.background == present.background and not self._scene.shows_room
        described = wanted.model_copy(update={"background": _ANY_SCENE}) if stays else wanted
        built = self._build(described, presence=self._presence)
        if self._pipeline.has_lost_gpu and wanted.compute == present.compute:
            built = replace(built, whole=None)
        changed = {name for name in _STAGES if getattr(wanted, name) != getattr(present, name)}
        stages = before
        with ExitStack() as opened:
            if (built.whole is None) != (before.whole is None):
                changed |= {"segment", "harmonize", "composite"}
            on_cpu = built.whole is None
            if "segment" in changed:
                stages = replace(stages, segmenter=_opened(built.segmenter, opened, on_cpu))
            if "harmonize" in changed:
                tolerant = TolerantHarmonizer(built.harmonizer)
                stages = replace(stages, harmonizer=_opened(tolerant, opened, on_cpu))
            if "smooth" in changed:
                stages = replace(stages, smoother=built.smoother)
            if changed & {"smooth", "composite"}:
                stages = replace(stages, noise=built.noise and _opened(built.noise, opened))
            if "composite" in changed:
                stages = replace(stages, compositor=_opened(built.compositor, opened, on_cpu))
            if built.placement != stages.placement:
                stages = replace(stages, placement=built.placement)
            if built.whole is None:
                stages = replace(stages, whole=None)
            elif changed - {"smooth"}:
                whole = _opened(built.whole, opened)
                whole.prepare((wanted.live.width, wanted.live.height))
                stages = replace(stages, whole=whole)
            background: Background | None = None
            if wanted.background != present.background:
                background = _opened(built.background, opened)

            def change() -> None:
                if stages != before:
                    self._pipeline.replace_stages(stages)
                if background is not None:
                    if self._scene.shows_room:
                        self._presenter.forget()  # or a freeze would show it again
                    self._scene.change(background, fade_ms)
                self._pipeline.harmonize_every = wanted.live.harmonize_every
                self._worker.shortest_ns = _shortest_ns(wanted)
                self._in_effect = wanted
                if isinstance(stages.harmonizer, TolerantHarmonizer):
                    self._harmonizer = stages.harmonizer

            self._worker.between_frames(change)
            opened.pop_all()
        self._trim_s = time.monotonic() + fade_ms / 1000 + _SETTLED_S

    def _slate(self, action: Action) -> Composite:
        return replace(self._slates[action], pts_ns=time.monotonic_ns())


def _shortest_ns(config: Config) -> int:
    """The least time between two frames that are processed; cameras are not exact, so a little early is in time."""
    return int(0.8e9 / config.live.fps)


def _make_slates(config: Config) -> dict[Action, Composite]:
    """What is shown for each action in place of a composite."""
    live = config.live
    size_wh = (live.width, live.height)
    if live.slate is None:
        return {action: make_slate(size_wh, 0, text) for action, text in _SLATE_TEXT.items()}
    picture = fit_to(read_image(live.slate), size_wh, "cover")
    return dict.fromkeys(_SLATE_TEXT, Composite(picture, 0, kind="slate"))


class _Opened(Protocol):
    def open(self) -> None: ...

    def close(self) -> None: ...


_Stage = TypeVar("_Stage", bound=_Opened)


def _opened(stage: _Stage, opened: ExitStack, is_used: bool = True) -> _Stage:
    """The stage, open if it is used, and closed again if something after it fails."""
    if not is_used:
        return stage
    stage.open()
    opened.callback(stage.close)
    return stage
