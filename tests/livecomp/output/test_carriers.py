from __future__ import annotations

import logging
from pathlib import Path

import av
import pytest

from livecomp.output.carriers import Carrier, PacketCarrier, SoundCarrier, TextCarrier
from tests.livecomp.clips import beep_and_flash

SRT = "1\n00:00:00,200 --> 00:00:00,600\nOne\n\n2\n00:00:01,500 --> 00:00:01,900\nTwo\n\n"


@pytest.mark.parametrize("kind", ["copied sound", "sound", "text"])
def test_what_jumps_back_in_time_is_left_out_and_told(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    texts = tmp_path / "texts.srt"
    texts.write_text(SRT)
    clip = beep_and_flash(tmp_path / "in.mkv", sound_codec="libopus", subtitles=texts)
    counts = []
    for rounds in (1, 2):
        out = tmp_path / f"out{rounds}.webm"
        with av.open(str(clip)) as source, av.open(str(out), "w") as target:
            stream = source.streams.subtitles[0] if kind == "text" else source.streams.audio[0]
            carrier: Carrier
            if kind == "copied sound":
                carrier = PacketCarrier(stream, target)
            elif kind == "sound":
                carrier = SoundCarrier(source.streams.audio[0], target, "libopus")
            else:
                carrier = TextCarrier(stream, target, "webvtt")
            for _ in range(rounds):
                source.seek(0)
                for packet in source.demux(stream):
                    if packet.size:
                        carrier.mux(packet)
            carrier.finish()
        with av.open(str(out)) as container:
            counts.append(sum(1 for packet in container.demux() if packet.size))
        assert ("left out, since their time jumps back" in caplog.text) == (rounds == 2)
    assert counts[0] <= counts[1] <= counts[0] + 1
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


@pytest.mark.parametrize("kind", ["copied sound", "sound"])
def test_what_is_damaged_is_left_out_and_told(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Recorders of broadcasts store damage: here a packet of sound without the header that each has in such files."""
    clip, out = beep_and_flash(tmp_path / "in.ts"), tmp_path / "out.mp4"
    packets = 0
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = source.streams.audio[0]
        carrier = PacketCarrier(stream, target) if kind == "copied sound" else SoundCarrier(stream, target, "aac")
        for packet in source.demux(stream):
            if not packet.size:
                continue
            packets += 1
            if packets == 20:
                whole, packet = packet, av.Packet(bytes(100))
                packet.pts, packet.dts, packet.time_base, packet.stream = whole.pts, whole.dts, whole.time_base, stream
            carrier.mux(packet)
        carrier.finish()
    assert "1 packets of audio are left out, since they are damaged" in caplog.text
    with av.open(str(out)) as container:
        kept = sum(1 for packet in container.demux() if packet.size)
    assert packets - 3 <= kept <= packets + 1


def test_a_damaged_subtitle_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts, clip, out = tmp_path / "texts.srt", tmp_path / "in.mp4", tmp_path / "out.vtt"
    texts.write_text(SRT)
    with av.open(str(texts)) as source, av.open(str(clip), "w") as target:
        carrier = TextCarrier(source.streams.subtitles[0], target, "mov_text")
        for packet in source.demux():
            carrier.mux(packet)
    with av.open(str(clip)) as source, av.open(str(out), "w") as target:
        stream = source.streams.subtitles[0]
        carrier = TextCarrier(stream, target, "webvtt")
        for packet in source.demux(stream):
            if b"One" in bytes(packet):
                whole, packet = packet, av.Packet(b"\0")  # half of the length that comes first
                packet.pts, packet.dts, packet.time_base, packet.stream = whole.pts, whole.dts, whole.time_base, stream
            carrier.mux(packet)
        carrier.finish()
    assert "1 packets of subtitle are left out, since they are damaged" in caplog.text
    assert "Two" in out.read_text()
    assert "One" not in out.read_text()
