"""The command `livecomp`, but what its virtual camera shows carries its time of capture in its pixels."""

from __future__ import annotations

from dataclasses import replace

from livecomp.bench.stamp import draw_time
from livecomp.cli import main
from livecomp.frame import Composite, freeze
from livecomp.output.virtual import VirtualCameraSink

_write = VirtualCameraSink.write


def _write_stamped(sink: VirtualCameraSink, composite: Composite) -> None:
    if composite.kind == "composite":
        rgb = composite.rgb.copy()
        draw_time(rgb, composite.pts_ns)
        composite = replace(composite, rgb=freeze(rgb))
    _write(sink, composite)


if __name__ == "__main__":
    VirtualCameraSink.write = _write_stamped  # type: ignore[method-assign]
    main()
