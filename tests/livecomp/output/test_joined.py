from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from livecomp.output.joined import JoinedPackets
from tests.livecomp.clips import beep_and_flash

SRT = "1\n00:00:00,200 --> 00:00:00,600\nOne\n\n2\n00:00:01,500 --> 00:00:01,900\nTwo\n\n"


class Joined:
    """Files of the same streams one after the other, in place of one file whose time jumps back."""

    def __init__(self, paths: Sequence[Path], *, without_video_jumps: bool = False) -> None:
        self._containers = [av.open(str(path)) for path in paths]
        self._without_video_jumps = without_video_jumps
        self.start_time = self._containers[0].start_time
        self.streams = self._containers[0].streams

    def demux(self, *streams: av.stream.Stream) -> Iterator[Any]:
        wanted = {stream.index for stream in streams}
        for number, container in enumerate(self._containers):
            packets = [packet for packet in container.demux() if packet.size and packet.stream.index in wanted]
            for packet in sorted(
                packets, key=lambda packet: (float(packet.dts * packet.time_base), packet.stream.index)
            ):
                if packet.stream.type == "video" and self._without_video_jumps:
                    packet.pts += round(2 * number / packet.time_base)
                    packet.dts += round(2 * number / packet.time_base)
                yield packet
        yield SimpleNamespace(stream=streams[0], pts=None, dts=None, time_base=None)

    def close(self) -> None:
        for container in self._containers:
            container.close()


def times(joined: Joined, kind: str) -> list[float]:
    """Times in seconds of the packets of the first stream of a kind."""
    kept = [stream for stream in joined.streams if stream.type in ("audio", "subtitle")]
    seen = [
        float(packet.pts * packet.time_base)
        for packet in JoinedPackets(joined, kept)  # type: ignore[arg-type]  # a stand-in
        if packet.pts is not None and packet.stream.type == kind
    ]
    joined.close()
    return seen


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    texts = tmp_path / "texts.srt"
    texts.write_text(SRT)
    return beep_and_flash(tmp_path / "clip.mkv", codec="mpeg4", sound_codec="pcm_s16le", subtitles=texts)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_each_part_follows_the_one_before(clip: Path, rounds: int) -> None:
    once = times(Joined([clip]), "audio")
    assert times(Joined([clip] * rounds), "audio") == pytest.approx(
        [2 * number + time_s for number in range(rounds) for time_s in once], abs=0.002
    )


def test_subtitles_follow_though_their_own_time_goes_back_by_little_or_not_at_all(tmp_path: Path, clip: Path) -> None:
    assert times(Joined([clip] * 2), "subtitle") == pytest.approx([0.2, 1.5, 2.2, 3.5], abs=0.002)
    early = tmp_path / "early.srt"
    early.write_text(SRT.split("\n\n")[0] + "\n\n")
    first = beep_and_flash(tmp_path / "first.mkv", codec="mpeg4", sound_codec="pcm_s16le", subtitles=early)
    assert times(Joined([first, clip]), "subtitle") == pytest.approx([0.2, 2.2, 3.5], abs=0.002)


def test_sound_alone_that_jumps_back_keeps_its_times(clip: Path) -> None:
    once = times(Joined([clip]), "audio")
    assert times(Joined([clip] * 2, without_video_jumps=True), "audio") == pytest.approx(once * 2, abs=0.002)
