"""The benchmark of a call through V4L2's own calls, with a stand-in for the driver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.v4l2 import shim
from tests.v4l2.system import System

pytestmark = [pytest.mark.v4l2, pytest.mark.skipif(bool(shim.why_not()), reason=shim.why_not())]

SIZE_WH = (640, 360)
SCRIPT = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from livecomp.bench import Case
from livecomp.bench.consumer import Consumer
from livecomp.bench.live import PacketSource, measure_session
from livecomp.bench.pipeline import config_for, load_frames
from livecomp.capture.looped import LoopedSource
from livecomp.config import Config
from livecomp.output.virtual import VirtualCameraSink

if __name__ == "__main__":
    root, picture = Path(sys.argv[1]), Path(sys.argv[2])
    case = Case((640, 360), "landscape", "identity", harmonize_every=3, what="live")
    config = Config.from_options({"live": {"device": str(root / "dev/video10")}, "background": {"source": "#204060"}})
    config = config_for(case, config)
    source = LoopedSource(PacketSource(load_frames("demo", case.size_wh), 30), fps=30)
    sink = VirtualCameraSink(str(root / "dev/video10"), size_wh=case.size_wh, fps=30, root=root)
    found = measure_session(case, config, source, sink, Consumer(picture, case.size_wh), 1.5)
    print(json.dumps(asdict(found)))
"""


def test_a_call_is_measured_through_the_driver_s_calls(tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    system = System(tmp_path / "system", shim.build(tmp_path))
    script = tmp_path / "measure.py"
    script.write_text(SCRIPT)
    run = f"import runpy, sys; sys.argv[0] = {str(script)!r}; runpy.run_path({str(script)!r}, run_name='__main__')"
    with shim.Program(system.variables, run, system.root, system.loopback.y4m) as program:
        found = json.loads(program.line())
        program.finish()
    assert system.loopback.frames > found["frames"], "the device counts warm-up too"
    assert system.loopback.size_wh == SIZE_WH
    assert 8 <= found["frames"] <= 60
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert 0.8 * stages["sink"]["p50_ms"] <= found["frame"]["p50_ms"] < 3000
    assert "video10" in found["note"]
