"""A long call: rate, delay, processor, memory, threads and descriptors over time, and what it costs while nobody looks.

    python -m tests.v4l2.soak CLIP... -b SCENE -b SCENE --minutes 30 --idle-minutes 2 -o FILE.json

The clips play in a stand-in for a camera, as MJPEG; `livecomp run` writes to a stand-in for a virtual camera, which is
read here. The delay is that from capture to reading: each picture carries its time of capture in its pixels. Once a
minute the scene changes. Writes FILE.json with all samples and FILE.md with the summary.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from livecomp.bench.facts import facts
from livecomp.bench.stamp import age_ns, read_stamp
from livecomp.frame import U8Array
from livecomp.media.video import VideoReader
from tests.v4l2 import shim
from tests.v4l2.system import System

_WARM_S = 60.0
_SAMPLE_S = 10.0
_CHANGE_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """The call's process at one moment.

    Args:
        seconds: Since the first composite.
        rss_mb: Memory that is resident, 10**6 bytes.
        threads: How many.
        descriptors: How many are open.
        cpu_s: Processor time so far.
    """

    seconds: float
    rss_mb: float
    threads: int
    descriptors: int
    cpu_s: float


def look_at(process: int, seconds: float) -> Sample:
    """A sample of a process, from /proc."""
    folder = Path(f"/proc/{process}")
    lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
    return Sample(
        round(seconds, 1),
        int(lines["VmRSS"].split()[0]) * 1024 / 1e6,
        int(lines["Threads"]),
        len(list((folder / "fd").iterdir())),
        (int(fields[11]) + int(fields[12])) / _TICKS,
    )


class Reader:
    """Whoever watches: reads every new picture, and notes how old it is."""

    def __init__(self, system: System) -> None:
        self.ages: list[tuple[float, float]] = []
        """Time of reading in seconds, monotonic, and age in ms."""
        self.torn = 0
        self._system = system
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-reader")

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        seen, last = self._system.loopback.frames, 0
        while not self._stopping.is_set():
            count = self._system.loopback.frames
            if count == seen:
                time.sleep(0.0005)
                continue
            seen = count
            stamp: int | None = None
            with suppress(ValueError):  # in the middle of a change of size
                stamp = read_stamp(self._system.loopback.luma())
            now = time.monotonic_ns()
            if stamp is None or age_ns(stamp, now) >= 60_000_000_000:
                self.torn += 1
            elif stamp != last:
                last = stamp
                self.ages.append((now / 1e9, age_ns(stamp, now) / 1e6))


def clip_pictures(paths: list[Path], most: int) -> Iterator[U8Array]:
    """The first pictures of each clip, (H, W, 3) uint8."""
    for path in paths:
        reader = VideoReader(path, threads=1)
        reader.open()
        for _ in range(most // len(paths)):
            shown = reader.advance()
            if shown is None:
                break
            yield reader.convert(shown[0])
        reader.close()


def soak(arguments: argparse.Namespace, root: Path) -> dict[str, Any]:
    """Hold the call; returns what was measured."""
    (root / "system").mkdir()
    size_wh = arguments.size
    system = System(root / "system", shim.build(root), (("MJPG", size_wh, (30,)),), usage_events=True)
    system.loopback.consumers = 1
    system.camera.play(clip_pictures(arguments.clips, arguments.pictures))
    options = ["-b", arguments.background[0], "-W", str(size_wh[0]), "-H", str(size_wh[1])]
    samples: list[Sample] = []
    with system.camera, system.call(*options, *arguments.more, program="tests.v4l2.stamped") as call:
        call.wait_until_live()
        with Reader(system) as reader:
            start = changed = time.monotonic()
            scene = 0
            while (now := time.monotonic()) - start < arguments.minutes * 60:
                samples.append(look_at(call.pid, now - start))
                if now - changed >= _CHANGE_S and len(arguments.background) > 1:
                    changed = now
                    scene = (scene + 1) % len(arguments.background)
                    path = str(Path(arguments.background[scene]).absolute())
                    assert system.ask(do="set", values={"background.source": path})["ok"]
                call.wait_until(lambda now=now: time.monotonic() - now > _SAMPLE_S, 2 * _SAMPLE_S)
            end = time.monotonic()
        # names of this machine's files are nobody's business
        status = {key: value for key, value in system.status().items() if key not in ("background", "device")}
        idle = {}
        if arguments.idle_minutes:
            system.loopback.consumers = 0
            call.wait_until(lambda: system.status()["state"] == "sleeping", 30)
            time.sleep(5)
            before, since = look_at(call.pid, 0), time.monotonic()
            time.sleep(arguments.idle_minutes * 60)
            spent = look_at(call.pid, 0).cpu_s - before.cpu_s
            idle = {"seconds": time.monotonic() - since, "cpu_share": spent / (time.monotonic() - since)}
        call.end()
    return {
        "what": "a long call",
        "facts": facts(),
        "size_wh": size_wh,
        "clips": [path.name for path in arguments.clips],
        "seconds": end - start,
        "pictures": len(reader.ages),
        "fps": len(reader.ages) / (end - start),
        "age_ms": percentiles([age for _, age in reader.ages]),
        "age_ms_by_minute": by_minute(reader.ages, start),
        "torn_or_slate": reader.torn,
        "status": status,
        "idle": idle,
        "samples": [asdict(sample) for sample in samples],
    }


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest."""
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": max(values)}


def by_minute(ages: list[tuple[float, float]], start: float) -> list[dict[str, float]]:
    """Percentiles of each minute."""
    minutes: dict[int, list[float]] = {}
    for when, age in ages:
        minutes.setdefault(int((when - start) // 60), []).append(age)
    return [percentiles(values) | {"fps": len(values) / 60} for _, values in sorted(minutes.items())]


def summary(report: dict[str, Any]) -> str:
    """The report as a table in markdown."""
    samples = [Sample(**sample) for sample in report["samples"]]
    warm = [sample for sample in samples if sample.seconds >= _WARM_S] or samples
    first, last = warm[0], warm[-1]
    cpu = (last.cpu_s - first.cpu_s) / max(last.seconds - first.seconds, 1e-9)
    age, status = report["age_ms"], report["status"]
    rows = {
        "size": "x".join(map(str, report["size_wh"])),
        "length": f"{report['seconds'] / 60:.1f} min",
        "pictures read": f"{report['pictures']} ({report['fps']:.2f} fps)",
        "capture to reading, ms": ", ".join(f"{name} {value:.1f}" for name, value in age.items()),
        "captured, shown, dropped": f"{status['captured']}, {status['shown']}, {status['dropped']}",
        "slates, frames without a matte": f"{status['slates']}, {status['missed']}",
        "processor": f"{cpu:.2f} cores",
        "memory": f"{first.rss_mb:.1f} MB after {first.seconds:.0f} s, {last.rss_mb:.1f} MB at the end "
        f"({last.rss_mb - first.rss_mb:+.1f})",
        "threads": f"{min(s.threads for s in warm)} to {max(s.threads for s in warm)}",
        "descriptors": f"{min(s.descriptors for s in warm)} to {max(s.descriptors for s in warm)}",
        "cost at the end": status["step"],
        "nobody looks": f"{report['idle']['cpu_share'] * 100:.2f} % of a core" if report["idle"] else "not measured",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["# A long call", "", "| | |", "|---|---|", *lines, ""])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("-b", "--background", action="append", required=True, metavar="FILE", help="several take turns")
    parser.add_argument("-o", "--output", type=Path, required=True, help="FILE.json")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--idle-minutes", type=float, default=2)
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=(1280, 720))
    parser.add_argument("--pictures", type=int, default=360, help="of all clips together, kept in memory")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="options of `livecomp run`; the last here")
    arguments = parser.parse_args()
    for file in (*arguments.clips, *map(Path, arguments.background)):
        if not file.is_file():
            # a call of half an hour should not find that out when the scene changes
            parser.error(f"{file}: no such file")
    if reason := shim.why_not():
        sys.exit(reason)
    # so that whoever ends this ends the call too, and its folder goes
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as folder:
        report = soak(arguments, Path(folder))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    text = summary(report)
    arguments.output.with_suffix(".md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
