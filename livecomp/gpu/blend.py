"""Correction and blend in a graph: what `livecomp.composite.reference` says, step by step, at full size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livecomp.composite.edges import LEAST_WRAP, SIDE_REACH, WEIGHT_TOP, WRAP_REACH, box_side, small_size
from livecomp.composite.planes import FEW
from livecomp.gpu.nodes import Nodes
from livecomp.gpu.resample import nearest_indices

__all__ = ["Applied", "Pictures", "add_composite"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is put together; names of tensors, but for the size.

    Args:
        size_wh: Width and height in pixels.
        person: (1, 3, H, W) float32, 0..255, the frame.
        scene: (1, 3, H, W) float32, 0..255.
        alpha: (1, 1, H, W) float32, whole numbers 0..255.
    """

    size_wh: tuple[int, int]
    person: str
    scene: str
    alpha: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What is done to the person; names of tensors.

    Args:
        matrix: (3, 3) float32.
        curves: (3, N) float32.
        log_gain: (h, w) float32.
        nodes_of_curves: N.
        gain_wh: Width and height of the log-gain.
        light_wrap: (1,) float32, strength 0..1.
        decontaminate: (1,) float32, 1 or 0.
        linear_light: Whether edges are blended in linear light.
    """

    matrix: str
    curves: str
    log_gain: str
    nodes_of_curves: int
    gain_wh: tuple[int, int]
    light_wrap: str
    decontaminate: str
    linear_light: bool = False


def add_composite(nodes: Nodes, pictures: Pictures, applied: Applied, *, plain: bool = False) -> tuple[str, str | None]:
    """The composite, and the same without correction if `plain`: (1, 3, H, W) float32 each, whole numbers 0..255.

    Where alpha is 0 both are the scene, exactly, whatever the other inputs hold.
    """
    share = nodes.mul(pictures.alpha, 1 / 255)
    inside, outside, wrap = _edge_maps(nodes, pictures)
    person = _decontaminated(nodes, pictures, share, inside, outside, applied.decontaminate)
    encoded = nodes.mul(person, 1 / 255)
    corrected = _blended(nodes, pictures, share, _corrected(nodes, encoded, applied, pictures.size_wh), wrap, applied)
    return corrected, _blended(nodes, pictures, share, encoded, wrap, applied) if plain else None


def _edge_maps(nodes: Nodes, pictures: Pictures) -> tuple[str, str, str]:
    """The maps of `measure_edges`, stretched to full size, (1, 4, H, W) each."""
    width, height = pictures.size_wh
    small_width, small_height = small_size(pictures.size_wh)
    rows, columns = nearest_indices(height, small_height), nearest_indices(width, small_width)
    colors, scene, alpha = (
        nodes.picked(one, rows, columns) for one in (pictures.person, pictures.scene, pictures.alpha)
    )
    share = nodes.mul(alpha, 1 / 255)
    rest = nodes.sub(1.0, share)

    def blurred(stack: str, reach: float) -> str:
        side = box_side(reach, small_width)
        return nodes.box(nodes.box(stack, side), side)

    def side_of(opaque: str) -> str:
        squared = nodes.mul(opaque, opaque)
        weight = nodes.mul(nodes.rounded(nodes.mul(nodes.mul(squared, squared), WEIGHT_TOP)), 1 / WEIGHT_TOP)
        return blurred(nodes.op("Concat", nodes.mul(colors, weight), weight, axis=1), SIDE_REACH)

    light = blurred(nodes.op("Concat", scene, rest, axis=1), WRAP_REACH)
    around = nodes.part(light, 1, 3, 4)
    around = nodes.op("Where", nodes.op("Less", around, LEAST_WRAP), 0.0, around)
    wrap = nodes.op("Concat", nodes.part(light, 1, 0, 3), around, axis=1)
    inside, outside, wrap = (nodes.stretched(one, pictures.size_wh, 4) for one in (side_of(share), side_of(rest), wrap))
    return inside, outside, wrap


def _decontaminated(nodes: Nodes, pictures: Pictures, share: str, inside: str, outside: str, decontaminate: str) -> str:
    """The person's own colours, 0..255."""
    person = pictures.person

    def mean(sums: str) -> str:
        few = nodes.add(nodes.part(sums, 1, 0, 3), nodes.mul(person, FEW))
        return nodes.op("Div", few, nodes.add(nodes.part(sums, 1, 3, 4), FEW))

    near, room = mean(inside), mean(outside)
    mixed = nodes.add(nodes.mul(share, near), nodes.mul(nodes.sub(1.0, share), room))
    clean = nodes.clip(nodes.add(near, nodes.mul(share, nodes.sub(person, mixed))), 0, 255)
    # fully opaque pixels keep their colour; those of alpha 0 are not shown
    wanted = nodes.op("And", nodes.op("Less", pictures.alpha, 254.5), nodes.op("Greater", decontaminate, 0.5))
    return nodes.op("Where", wanted, clean, person)


def _corrected(nodes: Nodes, encoded: str, applied: Applied, size_wh: tuple[int, int]) -> str:
    """Matrix, curves and shading applied to (1, 3, H, W) in 0..1, as `Correction.apply` does."""
    columns = nodes.reshape(nodes.op("Transpose", applied.matrix, perm=[1, 0]), 3, 1, 3, 1, 1)
    mixed = nodes.add(
        *(
            nodes.mul(
                nodes.part(encoded, 1, channel, channel + 1),
                nodes.reshape(nodes.part(columns, 0, channel, channel + 1), 1, 3, 1, 1),
            )
            for channel in range(3)
        )
    )
    last = applied.nodes_of_curves - 1
    position = nodes.mul(nodes.clip(mixed, 0, 1), float(last))
    first = nodes.op("Min", nodes.op("Floor", position), float(last - 1))
    curves = nodes.clip(applied.curves, 0, 1)
    starts = nodes.part(curves, 1, 0, last)
    steps = nodes.sub(nodes.part(curves, 1, 1, last + 1), starts)
    of_channel = nodes.constant(np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1) * np.float32(last))
    index = nodes.as_int32(nodes.add(first, of_channel))
    start, step = (nodes.op("Gather", nodes.reshape(table, 3 * last), index, axis=0) for table in (starts, steps))
    curved = nodes.add(start, nodes.mul(step, nodes.sub(position, first)))
    gain_width, gain_height = applied.gain_wh
    gain = nodes.stretched(nodes.reshape(applied.log_gain, 1, 1, gain_height, gain_width), size_wh, 1)
    return nodes.clip(nodes.mul(curved, nodes.op("Exp", gain)), 0, 1)


def _blended(nodes: Nodes, pictures: Pictures, share: str, person: str, wrap: str, applied: Applied) -> str:
    """Light wrap and blend; the person in 0..1, the result in whole numbers 0..255."""
    light = nodes.mul(nodes.part(wrap, 1, 0, 3), 1 / 255)
    shining = nodes.mul(nodes.part(wrap, 1, 3, 4), applied.light_wrap)
    lit = nodes.add(person, nodes.mul(shining, nodes.op("Relu", nodes.sub(light, person))))
    scene = nodes.mul(pictures.scene, 1 / 255)
    if applied.linear_light:
        lit, scene = _linear(nodes, lit), _linear(nodes, scene)
    blended = nodes.add(nodes.mul(share, lit), nodes.mul(nodes.sub(1.0, share), scene))
    if applied.linear_light:
        blended = _encoded(nodes, blended)
    shown = nodes.rounded(nodes.mul(nodes.clip(blended, 0, 1), 255.0))
    return nodes.op("Where", nodes.op("Greater", pictures.alpha, 0.5), shown, pictures.scene)


def _linear(nodes: Nodes, encoded: str) -> str:
    """See `livecomp.color.linear_from_encoded`."""
    base = nodes.mul(nodes.add(nodes.op("Relu", encoded), 0.055), 1 / 1.055)
    high = nodes.op("Pow", base, 2.4)
    return nodes.op("Where", nodes.op("Greater", encoded, 0.04045), high, nodes.mul(encoded, 1 / 12.92))


def _encoded(nodes: Nodes, linear: str) -> str:
    """See `livecomp.color.encoded_from_linear`."""
    high = nodes.sub(nodes.mul(nodes.op("Pow", nodes.op("Relu", linear), 1 / 2.4), 1.055), 0.055)
    return nodes.op("Where", nodes.op("Greater", linear, 0.0031308), high, nodes.mul(linear, 12.92))
