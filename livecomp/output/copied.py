"""Sound, subtitles, chapters and metadata, carried over from the file that a video was made from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from livecomp.media.pyav import KEEP_METADATA, fraction_of
from livecomp.media.video import start_s_of, url_from_path
from livecomp.output.carriers import Carrier, PacketCarrier, SoundCarrier, TextCarrier
from livecomp.output.joined import JoinedPackets

if TYPE_CHECKING:
    from av.container.core import Chapter

__all__ = ["CopiedStreams"]

log = logging.getLogger(__name__)

_SOUND_CODECS = {"webm": "libopus"}
_TEXT_CODECS = {"ipod": "mov_text", "matroska": "srt", "mov": "mov_text", "mp4": "mov_text", "webm": "webvtt"}
_TEXTS = frozenset({"ass", "mov_text", "srt", "ssa", "subrip", "text", "webvtt"})
# What FFmpeg lists but its muxer then refuses; and PCM in MP4, which hardly any player takes. Beginnings of names.
_NOT_COPIED = {"mov": ("flac", "libopus", "opus"), "mp4": ("pcm_", "truehd")}
_PLACE = "location"  # within the names that cameras give the coordinates of the room, as in "location-eng"
# Facts about the old file; the muxer states those of the new one.
_OWN_METADATA = frozenset({"compatible_brands", "duration", "encoder", "major_brand", "minor_version"})


class CopiedStreams:
    """Copies packets as they are where the container can hold them; other sound and text is encoded anew.

    Times count from the start of the file and go on where they jump back, as those of `VideoReader` do.

    What cannot be carried at all, such as subtitles that are pictures in MP4, is left out with a warning; where it was
    recorded, without one: nobody who hides the room wants to give its coordinates.

    Args:
        path: The file to copy from.
        output: An output container whose header has not been written.
    """

    def __init__(self, path: Path, output: OutputContainer) -> None:
        self._path = path
        self._output = output
        self._input: InputContainer | None = None
        self._carriers: dict[int, Carrier] = {}
        self._packets: Iterator[Packet[Stream]] = iter(())
        self._waiting: Packet[Stream] | None = None

    def open(self) -> None:
        """Open the file and add its streams to the output.

        Raises:
            OSError, FFmpegError: The file cannot be opened.
        """
        self._input = av.open(url_from_path(self._path), **KEEP_METADATA)
        metadata = {k: v for k, v in self._input.metadata.items() if k.lower() not in _OWN_METADATA}
        self._output.metadata.update({k: v for k, v in metadata.items() if _PLACE not in k.lower()})
        start_s = start_s_of(self._input)
        self._output.set_chapters([_earlier(chapter, start_s) for chapter in self._input.chapters()])
        supported = self._output.supported_codecs
        for stream in self._input.streams:
            if stream.type in ("audio", "subtitle"):
                carrier = self._carrier(stream, supported)
                if carrier is not None:
                    self._carriers[stream.index] = carrier
            elif stream.type != "video" or stream.disposition & Disposition.attached_pic:
                kind = "cover picture" if stream.type == "video" else f"{stream.type} stream"
                log.warning("%s: its %s is left out", self._path, kind)
        kept = [stream for stream in self._input.streams if stream.index in self._carriers]
        self._packets = iter(JoinedPackets(self._input, kept)) if kept else iter(())
        self._waiting = next(self._packets, None)

    def _carrier(self, stream: Stream, supported: set[str]) -> Carrier | None:
        codec = stream.codec_context.name if stream.codec_context else None
        container = self._output.format.name
        if codec in supported and not codec.startswith(_NOT_COPIED.get(container, ())):
            return PacketCarrier(stream, self._output)
        encoder = _SOUND_CODECS.get(container, "aac") if isinstance(stream, AudioStream) else _TEXT_CODECS[container]
        if codec is None or not (isinstance(stream, AudioStream) or codec in _TEXTS):
            log.warning(
                "%s: its %s stream (%s) is left out: %s cannot hold it", self._path, stream.type, codec, container
            )
            return None
        log.warning("%s: its %s stream is encoded anew, from %s to %s", self._path, stream.type, codec, encoder)
        if isinstance(stream, AudioStream):
            return SoundCarrier(stream, self._output, encoder)
        return TextCarrier(stream, self._output, encoder)

    def mux_until(self, pts_ns: int | None) -> None:
        """Write what plays until `pts_ns` (nanoseconds), or all that is left.

        Raises:
            OSError, FFmpegError: It cannot be read or written.
        """
        while (packet := self._waiting) is not None:
            seconds = 0.0 if packet.dts is None else float(packet.dts * packet.time_base)
            if pts_ns is not None and seconds * 1e9 > pts_ns:
                return
            self._carriers[packet.stream.index].mux(packet)
            self._waiting = next(self._packets, None)
        for carrier in self._carriers.values() if pts_ns is None else ():
            carrier.finish()

    def close(self) -> None:
        """Release the file; harmless when repeated."""
        if self._input is not None:
            self._input.close()
        self._input = None
        self._carriers = {}
        self._waiting = None
        self._packets = iter(())


def _earlier(chapter: Chapter, seconds: Fraction) -> Chapter:
    """The same chapter, so much earlier, but not before zero."""
    ticks = round(seconds / fraction_of(chapter["time_base"] or 1))
    return {**chapter, "start": max(0, chapter["start"] - ticks), "end": max(0, chapter["end"] - ticks)}
