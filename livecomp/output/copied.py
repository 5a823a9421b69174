"""Sound, subtitles, chapters and metadata, carried over from the file that a video was made from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

__all__ = ["CopiedStreams"]

log = logging.getLogger(__name__)

_AUDIO_CODECS = {"webm": "libopus"}


class CopiedStreams:
    """Copies packets as they are where the container can hold them; other sound is encoded anew, the rest left out.

    Args:
        path: The file to copy from.
        output: An output container whose header has not been written.
    """

    def __init__(self, path: Path, output: OutputContainer) -> None:
        self._path = path
        self._output = output
        self._input: InputContainer | None = None
        self._targets: dict[int, Stream] = {}
        self._encoders: dict[int, tuple[AudioStream, AudioResampler]] = {}
        self._packets: Iterator[Packet] = iter(())
        self._waiting: Packet | None = None

    def open(self) -> None:
        """Open the file and add its streams to the output.

        Raises:
            OSError: The file cannot be opened; FFmpeg's own errors among them.
        """
        self._input = av.open(str(self._path))
        self._output.metadata.update(self._input.metadata)
        self._output.set_chapters(self._input.chapters())
        streams = [stream for stream in self._input.streams if stream.type in ("audio", "subtitle")]
        for stream in streams:
            self._add(stream)
        kept = [stream for stream in streams if stream.index in self._targets or stream.index in self._encoders]
        self._packets = self._input.demux(*kept) if kept else iter(())
        self._waiting = next(self._packets, None)

    def _add(self, stream: Stream) -> None:
        codec = stream.codec_context.name if stream.codec_context else "unknown"
        if codec in self._output.supported_codecs:
            target = self._output.add_stream_from_template(stream)
            target.metadata.update(stream.metadata)
            self._targets[stream.index] = target
        elif isinstance(stream, AudioStream):
            encoder = _AUDIO_CODECS.get(self._output.format.name, "aac")
            rate = 48_000 if encoder == "libopus" else stream.codec_context.sample_rate
            encoded = self._output.add_stream(encoder, rate=rate, layout=stream.codec_context.layout.name)
            assert isinstance(encoded, AudioStream)
            context = encoded.codec_context
            resampler = AudioResampler(context.format, context.layout, rate, context.frame_size or None)
            self._encoders[stream.index] = (encoded, resampler)
            log.warning("%s: sound in %s is encoded anew as %s, which this container can hold", self._path, codec, encoder)
        else:
            log.warning("%s: the %s stream in %s is left out: this container cannot hold it", self._path, stream.type, codec)

    def mux_until(self, pts_ns: int | None) -> None:
        """Write what plays until `pts_ns` (nanoseconds), or all that is left.

        Raises:
            OSError: It cannot be written, or the sound cannot be decoded.
        """
        while (packet := self._waiting) is not None:
            seconds = 0.0 if packet.dts is None else float(packet.dts * packet.time_base)
            if pts_ns is not None and seconds * 1e9 > pts_ns:
                return
            self._waiting = next(self._packets, None)
            self._mux(packet)
        for encoded, resampler in self._encoders.values() if pts_ns is None else ():
            for frame in resampler.resample(None):
                self._output.mux(encoded.encode(frame))
            self._output.mux(encoded.encode(None))

    def _mux(self, packet: Packet) -> None:
        index = packet.stream.index
        if index in self._encoders:
            encoded, resampler = self._encoders[index]
            for frame in packet.decode():
                for piece in resampler.resample(frame):
                    self._output.mux(encoded.encode(piece))
        elif packet.dts is not None:  # an empty packet ends each stream
            packet.stream = self._targets[index]
            self._output.mux(packet)

    def close(self) -> None:
        """Release the file; harmless when repeated."""
        if self._input is not None:
            self._input.close()
        self._input = None
        self._waiting = None
        self._packets = iter(())
