"""What was made for other displays, as sRGB: high dynamic range (ITU-R BT.2100) and wide gamuts (BT.2020, Display P3).

Phones film in HLG. Its light is kept up to about half of what a white sheet of paper has, so that faces look as they do
in other videos, and what is brighter is brought below white by the curve of Report ITU-R BT.2390. FFmpeg's scaler has
its own mapping, which makes faces darker, takes seconds to begin and a tenth of a second for a 1080p picture.
"""

from __future__ import annotations

import logging
import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from livecomp.color import encoded_from_linear, linear_from_encoded
from livecomp.correction import F32Array
from livecomp.errors import InputError, reason

__all__ = ["DEEP_FORMAT", "SrgbMapper", "is_bt2020", "needs_mapping", "srgb_cube", "tell_of_hdr"]

log = logging.getLogger(__name__)

F64Array = NDArray[np.float64]

_PQ, _HLG = 16, 18  # transfer characteristics by their number in ITU-T H.273, which files and FFmpeg use
_HDR_NAMES = {_PQ: "PQ", _HLG: "HLG"}
_BT709, _BT2020, _P3_D65 = 1, 9, 12  # primaries in H.273
_PRIMARIES_XY = {
    _BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    _BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    _P3_D65: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65_XY = (0.3127, 0.3290)

_REFERENCE_WHITE = 203.0
"""Luminance of a white sheet of paper in high dynamic range, in cd/m² (Report ITU-R BT.2408); white in sRGB."""

_PEAK = 1000.0
"""Luminance of the brightest highlights, in cd/m²: the nominal peak of HLG, and what most of PQ is graded for."""

_NODES = 33

DEEP_FORMAT = "gbrp16le"
"""The pixel format that swscale makes, and that is mapped, fastest."""

_ANY_TIME_BASE = Fraction(1, 1000)  # times are kept by those who read


class SrgbMapper:
    """Turns what was made for one kind of display into sRGB, as `srgb_cube` says.

    Args:
        transfer: As in `srgb_cube`.
        primaries: As in `srgb_cube`.
    """

    def __init__(self, transfer: int, primaries: int) -> None:
        self._cube = srgb_cube(transfer, primaries)
        self._reformatter = VideoReformatter()
        self._graph: Graph | None = None
        self._size_wh = (0, 0)

    def map(self, frame: VideoFrame) -> VideoFrame:
        """One picture.

        Args:
            frame: RGB of the full range, of any depth.

        Returns:
            The same in sRGB, rgb24.

        Raises:
            InputError: There is no place for a small file, through which alone FFmpeg takes its table.
        """
        deep = self._reformatter.reformat(frame, format=DEEP_FORMAT, dst_color_range=ColorRange.JPEG, threads=1)
        if self._graph is None or self._size_wh != (deep.width, deep.height):
            self._graph, self._size_wh = _graph_of(self._cube, deep), (deep.width, deep.height)
        self._graph.vpush(deep)
        return self._reformatter.reformat(
            self._graph.vpull(), format="rgb24", dst_color_range=ColorRange.JPEG, threads=1
        )


def needs_mapping(transfer: int, primaries: int) -> bool:
    """Whether pictures are not sRGB, or so near to it that players make no difference; both as in `srgb_cube`."""
    return transfer in _HDR_NAMES or primaries in (_BT2020, _P3_D65)


def is_bt2020(transfer: int, primaries: int) -> bool:
    """Whether colours are those of BT.2020, as of high dynamic range where nothing else is said; see `srgb_cube`."""
    return primaries == _BT2020 or (transfer in _HDR_NAMES and primaries not in _PRIMARIES_XY)


@cache
def tell_of_hdr(path: Path, transfer: int) -> None:
    """Warn that a file has a high dynamic range, if it has, and once, however often it is opened."""
    if transfer in _HDR_NAMES:
        log.warning("%s has a high dynamic range (%s), which is brought into that of sRGB", path, _HDR_NAMES[transfer])


@cache
def srgb_cube(transfer: int, primaries: int) -> F32Array:
    """What the colours of a display are in sRGB.

    High dynamic range is shown as on a display of 1,000 cd/m², brighter light as that, and its tones are mapped so that
    203 cd/m² are the most that is shown. Colours outside sRGB are clipped.

    Args:
        transfer: Transfer characteristics as ITU-T H.273 numbers them, table 3; all but PQ and HLG count as sRGB's.
        primaries: Colour primaries, table 2; others than BT.2020 and Display P3 count as sRGB's, but for high dynamic
            range as BT.2020.

    Returns:
        (33, 33, 33, 3) float32, 0..1, by red, green and blue in equal steps.
    """
    if is_bt2020(transfer, primaries):
        primaries = _BT2020
    elif primaries not in _PRIMARIES_XY:
        primaries = _BT709
    steps = np.linspace(0, 1, _NODES)
    code = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1)
    to_xyz = _xyz_from_rgb(primaries)
    if transfer == _HLG:
        light = _tone_mapped(_light_from_hlg(code, luma=to_xyz[1]))
    elif transfer == _PQ:
        light = _tone_mapped(_light_from_pq(code))
    else:
        light = linear_from_encoded(code.astype(np.float32)).astype(np.float64)
    light = light @ (np.linalg.inv(_xyz_from_rgb(_BT709)) @ to_xyz).T
    return encoded_from_linear(light.clip(0, 1).astype(np.float32))


def _graph_of(cube: F32Array, frame: VideoFrame) -> Graph:
    """FFmpeg's look-up, interpolated within tetrahedra, which keeps greys grey, for frames such as this one."""
    graph = Graph()
    graph.threads = 1
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "srgb.cube"
            rows = cube.transpose(2, 1, 0, 3).reshape(-1, 3)  # red changes fastest
            np.savetxt(path, rows, "%.6f", header=f"LUT_3D_SIZE {len(cube)}", comments="")
            graph.link_nodes(
                graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_ANY_TIME_BASE),
                graph.add("lut3d", file=str(path), interp="tetrahedral"),
                graph.add("buffersink"),
            ).configure()
    except OSError as error:
        raise InputError(f"colours cannot be brought into sRGB without a temporary file: {reason(error)}") from error
    return graph


def _xyz_from_rgb(primaries: int) -> F64Array:
    """The matrix from linear RGB, white 1, to XYZ (SMPTE RP 177)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (*_PRIMARIES_XY[primaries], _D65_XY)]).T
    white = np.linalg.solve(columns[:, :3], columns[:, 3])
    return np.asarray(columns[:, :3] * white, np.float64)


def _light_from_hlg(code: F64Array, luma: F64Array) -> F64Array:
    """Light of a display in cd/m² by code values 0..1 (BT.2100, table 5, for 1,000 cd/m² and a dim room)."""
    a, gamma = 0.17883277, 1.2
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    return np.asarray(_PEAK * scene * (scene @ luma)[..., None] ** (gamma - 1), np.float64)


_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _light_from_pq(code: F64Array) -> F64Array:
    """Light in cd/m² by code values 0..1 (BT.2100, table 4)."""
    power = code ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1), np.float64)


def _pq_from_light(light: F64Array) -> F64Array:
    """The inverse of `_light_from_pq`."""
    power = (light / 10_000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float64)


def _tone_mapped(light: F64Array) -> F64Array:
    """Light in cd/m² as linear light 0..1 (BT.2390, 5.4.1); the strongest channel decides, so that hues are kept."""
    peak, white = _pq_from_light(np.array([_PEAK, _REFERENCE_WHITE]))
    most = light.max(axis=-1, keepdims=True)
    level = _pq_from_light(most.clip(0, _PEAK)) / peak
    ceiling = white / peak
    knee = 1.5 * ceiling - 0.5
    t = ((level - knee) / (1 - knee)).clip(0, 1)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * ceiling
    mapped = _light_from_pq(np.where(level < knee, level, spline) * peak)
    return np.asarray(light * (mapped / np.maximum(most, 1e-6)) / _REFERENCE_WHITE, np.float64)
