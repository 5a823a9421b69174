"""Whole frames in one go: a graph is built for their size and fed once a frame, and what it gives is judged."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine import ModelFile, Runner, TensorMap
from livecomp.composite.reference import check_background
from livecomp.correction import Correction, F32Array
from livecomp.errors import LiveCompError, MatteError, ModelError
from livecomp.frame import Composite, Frame, U8Array, freeze
from livecomp.gpu.graph import LEAST_SIDE, GraphSpec, build_graph, output_shapes
from livecomp.gpu.matte import matte_size
from livecomp.gpu.nodes import input_side
from livecomp.gpu.options import WholeOptions
from livecomp.gpu.proof import check_composite, check_prediction, make_example
from livecomp.gpu.regions import Regions
from livecomp.gpu.verify import check_shapes, verify
from livecomp.harmonizers import Harmonizer
from livecomp.harmonizers.network import correction_from, shows_both
from livecomp.segment.check import MatteCheck
from livecomp.segment.haze import Keep
from livecomp.segment.presence import PresenceFilter
from livecomp.smooth.matte import MAX_GAP_MS, past_weight

__all__ = ["RunnerMaker", "Shown", "WholeFrame", "WholeOptions"]

log = logging.getLogger(__name__)

RunnerMaker = Callable[[ModelFile], Runner]
NetworkLoader = Callable[[], dict[str, bytes]]


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of a frame, judged.

    Args:
        composite: What may be shown.
        plain: The same without any correction, where it was asked for.
        alpha: (64, 64) uint8, every n-th pixel of the alpha that was used, 255 = person.
    """

    composite: Composite
    plain: Composite | None
    alpha: U8Array


class WholeFrame:
    """Matte, correction and blend of a frame at once. Not safe to call from several threads at once.

    Args:
        options: What is done.
        networks: Gives the networks that are put into the graph, in ONNX, by name; called once, by `open`.
        make_runner: Makes what runs the graph, not open.
        harmonizer: Predicts corrections where the graph holds no network for that; opened and closed here.
        presence: Says, with `options.clear`, which regions have somebody in them; None to keep all. Not opened or
            closed here, since it may outlive these frames.
        required: Whether the CPU may not stand in where this cannot be opened; while running it may.
        prove: Compare what a graph gives with what the CPU gives, before it is used.
    """

    def __init__(
        self,
        options: WholeOptions,
        *,
        networks: NetworkLoader,
        make_runner: RunnerMaker,
        harmonizer: Harmonizer | None = None,
        presence: PresenceFilter | None = None,
        required: bool = False,
        prove: bool = False,
    ) -> None:
        self._options = options
        self._load_networks = networks
        self._make_runner = make_runner
        self._harmonizer = harmonizer
        self._presence = presence
        self.required = required
        self._prove = prove
        self._networks: dict[str, bytes] | None = None
        self._seen_size = 0
        self._runner: Runner | None = None
        self._spec: GraphSpec | None = None
        self._check = MatteCheck()
        self._past: tuple[F32Array, int] | None = None
        self._regions = Regions()
        self._feed: TensorMap = {}
        self._outputs: TensorMap = {}
        self.backend = ""
        """The backend that runs the graph, once frames of one size were prepared for."""

    def open(self) -> None:
        """Load the networks; harmless when repeated.

        Raises:
            DependencyError: There is no GPU, or a package is missing.
            ModelError: A network is damaged.
        """
        if self._networks is not None:
            return
        networks = self._load_networks()
        if self._harmonizer is not None:
            self._harmonizer.open()
            self._seen_size = self._harmonizer.input_size
        else:
            self._seen_size = input_side(networks["live"])
        self._networks = networks

    def prepare(self, size_wh: tuple[int, int], *, plain: bool = False) -> None:
        """Build and load the graph for frames of one size, which may take a minute the first time on a machine.

        Args:
            size_wh: Width and height of frames in pixels.
            plain: Whether composites without correction will be wanted too.

        Raises:
            ModelError: The graph cannot be built or loaded, or gives something else than the CPU; or frames are too
                small.
        """
        if self._networks is None:
            raise ModelError("whole frames are not open; call open() first")
        spec = self._wanted(size_wh, plain)
        if spec == self._spec:
            return
        if min(size_wh) < LEAST_SIDE:
            raise ModelError(f"frames of {size_wh[0]}x{size_wh[1]} are too small for the GPU: at least {LEAST_SIDE}")
        self._release()
        self._forget()
        name = f"{size_wh[0]}x{size_wh[1]}.onnx"
        runner = self._make_runner(ModelFile.of(build_graph(spec, self._networks), name))
        try:
            runner.open()
        except Exception as error:  # the boundary to foreign code: a driver may fail in ways of its own
            raise ModelError(f"the graph for whole frames cannot be loaded: {error}") from error
        self._runner, self._spec, self.backend = runner, spec, runner.name
        if self._prove:
            try:
                self._check_itself(size_wh, plain)
            except LiveCompError as error:
                self._release()
                raise ModelError(f"whole frames on {self.backend} are not trusted: {error}") from error
        log.info("whole frames of %dx%d run on %s: %s", *size_wh, runner.name, dict(runner.report))

    def run(self, frame: Frame, scene: U8Array, correction: Correction, *, plain: bool = False) -> Shown:
        """Put the person of a frame into a scene.

        A frame of another size than the one before starts anew, as after `reset`.

        Args:
            frame: Needs no alpha.
            scene: (H, W, 3) uint8 of the frame's size; one that is read-only and comes again is not copied again.
            correction: Applied to the person, weakened by the strengths.
            plain: Also make the composite without correction.

        Raises:
            MatteError: The matte cannot be true, or the composite is not what the matte says; nothing may be shown, and
                the filters have not seen that matte.
            ModelError: The graph could not be run, or gave something else than was expected.
            ContractError: The scene has another size.
        """
        check_background(frame, scene)
        self.prepare(frame.size_wh, plain=plain)
        presence = self._presence
        keep = presence if presence is None else functools.partial(presence.keep, rgb=frame.rgb, pts_ns=frame.pts_ns)
        return self._run(frame, scene, correction, keep)

    def _run(self, frame: Frame, scene: U8Array, correction: Correction, keep: Keep | None) -> Shown:
        self._feed = self._make_feed(frame, scene, correction)
        outputs = self._infer()
        when = f"{frame.pts_ns / 1e9:.3f} s"
        try:
            self._check.check(outputs["matte"], frame.rgb)
        except MatteError as error:
            raise MatteError(f"no matte at {when} from {self._options.matte_model!r}: {error}") from error
        if self._options.clear and self._regions.is_new:
            # the graph cannot tell small regions from large ones: it is told, and asked again
            self._feed["sure_above"] = Regions().updated(outputs["steadied"], keep)
            outputs = self._infer()
        shown = self._judged(outputs, frame, scene)
        self._outputs = outputs
        self._past = outputs["steadied"], frame.pts_ns
        if self._options.clear:
            self._regions.update(outputs["steadied"], keep)
        return shown

    def again(self, frame: Frame, scene: U8Array, correction: Correction) -> Shown:
        """The frame given to `run` just before once more, with another correction and without a step in time.

        Raises:
            MatteError: As `run`.
            ModelError: As `run`.
        """
        self._feed |= self._correction_feed(correction)
        return self._judged(self._infer(), frame, scene)

    def predict(self) -> Correction:
        """The correction that would suit the frame given to `run` last.

        Raises:
            ModelError: A network gave values that are no correction, or a harmonizer failed.
        """
        outputs = self._outputs
        alpha = outputs["seen_alpha"].astype(np.uint8)
        if self._harmonizer is not None:
            picture = np.ascontiguousarray(outputs["seen"].transpose(1, 2, 0)).astype(np.uint8)
            return self._harmonizer.predict(picture, alpha)
        if not shows_both(alpha):
            return Correction.identity()
        return correction_from(outputs["raw_matrix"], outputs["raw_curves"], outputs["raw_log_gain"])

    def reset(self) -> None:
        """Forget earlier frames: a cut, or another source."""
        self._forget()
        if self._presence is not None:
            self._presence.reset()

    def _forget(self) -> None:
        """Forget what is of these frames alone."""
        self._check.reset()
        self._regions.reset()
        self._past = None
        self._feed, self._outputs = {}, {}

    def close(self) -> None:
        """Release everything; harmless when repeated."""
        self._release()
        self._forget()
        self._networks = None
        if self._harmonizer is not None:
            self._harmonizer.close()

    def _check_itself(self, size_wh: tuple[int, int], plain: bool) -> None:
        """Process the built-in portrait as the CPU does.

        Raises:
            LiveCompError: It is refused, or looks different.
        """
        frame, scene, correction = make_example(size_wh)
        shown = self._run(frame, scene, correction, keep=None)
        matted = check_composite(shown.composite, self._options, frame, scene, correction)
        if self._harmonizer is None:
            check_prediction(self.predict(), matted, scene)
        self._forget()

    def _release(self) -> None:
        runner, self._runner, self._spec = self._runner, None, None
        if runner is not None:
            runner.close()

    def _wanted(self, size_wh: tuple[int, int], plain: bool) -> GraphSpec:
        options = self._options
        return GraphSpec(
            size_wh,
            self._seen_size,
            matte_model=options.matte_model,
            refine=options.refine,
            clear=options.clear,
            linear_light=options.linear_light,
            plain=plain,
        )

    def _make_feed(self, frame: Frame, scene: U8Array, correction: Correction) -> TensorMap:
        options = self._options
        width, height = matte_size(options.matte_model)
        past, weight = np.zeros((height, width), np.float32), 0.0
        if self._past is not None:
            gap_ns = frame.pts_ns - self._past[1]
            if 0 < gap_ns <= MAX_GAP_MS * 1e6 and options.steady:
                past, weight = self._past[0], past_weight(options.steady, gap_ns)
        feed: TensorMap = {
            "frame": frame.rgb,
            "background": scene,
            "past": past,
            "past_weight": _one(weight),
            "light_wrap": _one(options.light_wrap),
            "decontaminate": _one(float(options.decontaminate)),
        }
        if options.clear:
            feed["sure_above"] = self._regions.sure_above((height, width))
        return feed | self._correction_feed(correction)

    def _correction_feed(self, correction: Correction) -> TensorMap:
        weakened = correction.with_strength(self._options.color_strength, self._options.shading_strength)
        return {"matrix": weakened.matrix, "curves": weakened.curves, "log_gain": weakened.log_gain}

    def _infer(self) -> TensorMap:
        assert self._runner is not None
        assert self._spec is not None
        try:
            outputs = self._runner.infer(self._feed)
        except Exception as error:  # the boundary to foreign code: whatever it raises, nothing of this frame is shown
            raise ModelError(f"a whole frame failed on {self.backend}: {error}") from error
        check_shapes(outputs, output_shapes(self._spec, predicts=self._harmonizer is None))
        return outputs

    def _judged(self, outputs: TensorMap, frame: Frame, scene: U8Array) -> Shown:
        pictures: dict[str, U8Array] = {name: outputs[name] for name in ("composite", "plain") if name in outputs}
        try:
            alpha = verify(outputs["thin_alpha"], outputs["steadied"], pictures, scene, refined=self._options.refine)
        except MatteError as error:
            raise MatteError(f"the frame at {frame.pts_ns / 1e9:.3f} s is not shown: {error}") from error
        composite = Composite(freeze(outputs["composite"]), frame.pts_ns)
        plain = Composite(freeze(outputs["plain"]), frame.pts_ns) if "plain" in outputs else None
        return Shown(composite, plain, freeze(alpha))


def _one(value: float) -> F32Array:
    return np.array([value], np.float32)
