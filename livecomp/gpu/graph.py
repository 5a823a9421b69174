"""One ONNX graph for a whole frame: matte, harmonizer, correction and blend, for one size of frames.

Inputs: `frame` and `background`, (H, W, 3) uint8 sRGB; the state of the matte, `past` and `sure_above` (h, w), and
`past_weight` (1,); the correction to apply, `matrix` (3, 3), `curves` (3, N) and `log_gain` (g, g), weakened by the
user's strengths already; `light_wrap` and `decontaminate`, (1,) each. All but the pictures are float32.

Outputs: `composite` (H, W, 3) uint8; `matte` (h, w), what the networks say, and `steadied` (h, w), the next `past`;
`thin_alpha` (64, 64), every n-th pixel of the alpha that was used, 0..255; `seen` (3, S, S) and `seen_alpha` (S, S),
0..255, what a harmonizer looks at; with the network `raw_matrix`, `raw_curves` and `raw_log_gain`; and `plain` where
it was asked for.

The correction that is applied is an input: what is predicted from one frame is steadied on the CPU and steers the
correction of the next, 33 ms later at 30 frames a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livecomp.correction import CURVE_NODES, GAIN_SIZE
from livecomp.gpu.blend import Applied, Pictures, add_composite
from livecomp.gpu.matte import add_cleared, add_raw_matte, add_refined, add_steadied, matte_size
from livecomp.gpu.nodes import Nodes
from livecomp.gpu.resample import area_matrix, nearest_indices
from livecomp.gpu.shrink import Shrinker
from livecomp.harmonizers.lowres import ROUNDING, fine_size

__all__ = ["LEAST_SIDE", "THIN", "GraphSpec", "add_pixels", "add_planes", "build_graph", "output_shapes"]

THIN = 64
"""Side of the thinned-out alpha, as `livecomp.smooth.motion` samples it."""

LEAST_SIDE = 64
"""Sides of frames in pixels, at least."""


_PREDICTED: dict[str, tuple[int, ...]] = {
    "raw_matrix": (3, 3),
    "raw_curves": (3, CURVE_NODES),
    "raw_log_gain": (GAIN_SIZE, GAIN_SIZE),
}


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """What a graph does; two of one specification are equal to the bit.

    Args:
        size_wh: Width and height of frames in pixels, each at least `LEAST_SIDE`.
        seen_size: Side in pixels of the square composite that the harmonizer wants.
        matte_model: "general", "landscape" or "both".
        refine: Whether the matte follows the edges of the picture.
        clear: Whether haze beside the person is taken away.
        linear_light: Whether edges are blended in linear light.
        plain: Whether the composite without correction is wanted too.
    """

    size_wh: tuple[int, int]
    seen_size: int
    matte_model: str = "both"
    refine: bool = True
    clear: bool = True
    linear_light: bool = False
    plain: bool = False


def build_graph(spec: GraphSpec, networks: dict[str, bytes]) -> bytes:
    """The graph in ONNX.

    Args:
        spec: What it does.
        networks: In ONNX, by name: those of the matte model; "live", the harmonizing network, may be left out.

    Raises:
        DependencyError: The package onnx is not installed.
        ModelError: A network cannot be embedded.
    """
    width, height = spec.size_wh
    matte_wh = matte_size(spec.matte_model)
    small_shape = (matte_wh[1], matte_wh[0])
    nodes = Nodes()
    person = add_planes(nodes, nodes.input("frame", np.uint8, (height, width, 3)), spec.size_wh)
    scene = add_planes(nodes, nodes.input("background", np.uint8, (height, width, 3)), spec.size_wh)
    past = nodes.reshape(nodes.input("past", np.float32, small_shape), 1, 1, *small_shape)
    past_weight = nodes.input("past_weight", np.float32, (1,))
    applied = Applied(
        matrix=nodes.input("matrix", np.float32, (3, 3)),
        curves=nodes.input("curves", np.float32, (3, CURVE_NODES)),
        log_gain=nodes.input("log_gain", np.float32, (GAIN_SIZE, GAIN_SIZE)),
        nodes_of_curves=CURVE_NODES,
        gain_wh=(GAIN_SIZE, GAIN_SIZE),
        light_wrap=nodes.input("light_wrap", np.float32, (1,)),
        decontaminate=nodes.input("decontaminate", np.float32, (1,)),
        linear_light=spec.linear_light,
    )

    shrinker = Shrinker(nodes, person, spec.size_wh)
    matte = add_raw_matte(nodes, shrinker, spec.matte_model, networks)
    steadied = add_steadied(nodes, matte, past, past_weight)
    cleared = steadied
    if spec.clear:
        sure_above = nodes.reshape(nodes.input("sure_above", np.float32, small_shape), 1, 1, *small_shape)
        cleared = add_cleared(nodes, steadied, sure_above, matte_wh)
    alpha = add_refined(nodes, cleared, matte_wh, shrinker, refine=spec.refine)
    pictures = Pictures(spec.size_wh, person, scene, alpha)
    composite, plain = add_composite(nodes, pictures, applied, plain=spec.plain)

    nodes.output("composite", add_pixels(nodes, composite, spec.size_wh), np.uint8, (height, width, 3))
    if plain is not None:
        nodes.output("plain", add_pixels(nodes, plain, spec.size_wh), np.uint8, (height, width, 3))
    nodes.output("matte", nodes.reshape(matte, *small_shape), np.float32, small_shape)
    nodes.output("steadied", nodes.reshape(steadied, *small_shape), np.float32, small_shape)
    thin = nodes.picked(alpha, nearest_indices(height, THIN), nearest_indices(width, THIN))
    nodes.output("thin_alpha", nodes.reshape(thin, THIN, THIN), np.float32, (THIN, THIN))
    _add_prediction(nodes, pictures, spec.seen_size, networks.get("live"))
    return nodes.model(f"livecomp {width}x{height} {spec.matte_model}")


def output_shapes(spec: GraphSpec, *, predicts: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of all outputs, by name; `predicts` says whether the harmonizing network is in the graph."""
    width, height = spec.size_wh
    small_width, small_height = matte_size(spec.matte_model)
    shapes: dict[str, tuple[int, ...]] = {
        "composite": (height, width, 3),
        "matte": (small_height, small_width),
        "steadied": (small_height, small_width),
        "thin_alpha": (THIN, THIN),
        "seen": (3, spec.seen_size, spec.seen_size),
        "seen_alpha": (spec.seen_size, spec.seen_size),
    }
    if spec.plain:
        shapes["plain"] = (height, width, 3)
    if predicts:
        shapes |= _PREDICTED
    return shapes


def add_planes(nodes: Nodes, pixels: str, size_wh: tuple[int, int]) -> str:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32, 0..255."""
    planes = nodes.op("Transpose", nodes.as_float(pixels), perm=[2, 0, 1])
    return nodes.reshape(planes, 1, 3, size_wh[1], size_wh[0])


def add_pixels(nodes: Nodes, planes: str, size_wh: tuple[int, int]) -> str:
    """(1, 3, H, W) float32, whole numbers 0..255 -> (H, W, 3)."""
    return nodes.op("Transpose", nodes.reshape(planes, 3, size_wh[1], size_wh[0]), perm=[1, 2, 0])


def _add_prediction(nodes: Nodes, pictures: Pictures, size: int, network: bytes | None) -> None:
    """What `make_input` shows to a harmonizer, and what the network says of it."""
    width, height = pictures.size_wh
    fine_width, fine_height = fine_size(pictures.size_wh, size)
    rows, columns = nearest_indices(height, fine_height), nearest_indices(width, fine_width)
    person, scene, alpha = (
        nodes.picked(one, rows, columns) for one in (pictures.person, pictures.scene, pictures.alpha)
    )
    share = nodes.mul(alpha, 1 / 255)
    shown = nodes.rounded(nodes.mul(person, share))
    behind = nodes.rounded(nodes.mul(scene, nodes.sub(1.0, share)))
    mixed = nodes.op("Min", nodes.add(shown, behind), 255.0)
    down, across = area_matrix(fine_height, size), np.ascontiguousarray(area_matrix(fine_width, size).T)

    def averaged(tensor: str) -> str:
        mean = nodes.op("MatMul", nodes.op("MatMul", down, tensor), across)
        return nodes.op("Floor", nodes.add(mean, ROUNDING))

    seen, seen_alpha = averaged(mixed), averaged(alpha)
    nodes.output("seen", nodes.reshape(seen, 3, size, size), np.float32, (3, size, size))
    nodes.output("seen_alpha", nodes.reshape(seen_alpha, size, size), np.float32, (size, size))
    if network is None:
        return
    feed = {"composite": nodes.mul(seen, 1 / 255), "mask": nodes.mul(seen_alpha, 1 / 255)}
    said = nodes.embedded(network, "live", feed)
    for name, shape in _PREDICTED.items():
        nodes.output(name, nodes.reshape(said[name.removeprefix("raw_")], *shape), np.float32, shape)
