"""Ways to carry one stream of sound or subtitles from a file into another: as it is, or encoded anew."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Protocol

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import OutputContainer
from av.error import InvalidDataError, PatchWelcomeError
from av.packet import Packet
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext

from livecomp.media.pyav import fraction_of

__all__ = ["Carrier", "PacketCarrier", "SoundCarrier", "TextCarrier"]

log = logging.getLogger(__name__)

_DAMAGE = (InvalidDataError, PatchWelcomeError)  # the second where damaged bits ask for what FFmpeg does not know
_USUAL_RATE = 48_000  # Hz; every encoder here knows it
_LAYOUTS = {1: "mono", 6: "5.1", 8: "7.1"}  # by channels, as files without a layout of their own need it; else stereo


class Carrier(Protocol):
    """Takes the packets of one stream in their order. The output's header is written after the constructor."""

    def mux(self, packet: Packet[Stream]) -> None:
        """Write one packet, or what became of it.

        Raises:
            FFmpegError: It cannot be written.
        """
        ...

    def finish(self) -> None:
        """Write what is still held back.

        Raises:
            FFmpegError: It cannot be written.
        """
        ...


class PacketCarrier:
    """Leaves packets as they are, but for those that are damaged or jump back in time: containers refuse these.

    Args:
        stream: The stream to carry.
        output: Where to.
    """

    def __init__(self, stream: Stream, output: OutputContainer) -> None:
        self._output = output
        self._target = output.add_stream_from_template(stream)
        self._left_out = _LeftOut(self._target.type)
        _copy_labels(stream, self._target)

    def mux(self, packet: Packet[Stream]) -> None:
        """See `Carrier.mux`."""
        if packet.dts is None:  # the empty packet that ends a stream
            return
        if not self._left_out.goes_on(packet.dts * packet.time_base):
            return
        packet.stream = self._target
        try:
            self._output.mux(packet)
        except _DAMAGE as error:
            self._left_out.add_damaged(packet, error)

    def finish(self) -> None:
        """See `Carrier.finish`."""
        self._left_out.report()


class SoundCarrier:
    """Decodes sound and encodes it anew; a damaged packet, or one whose time jumps back, is left out.

    Args:
        stream: The stream to carry.
        output: Where to.
        codec: The encoder's name.
    """

    def __init__(self, stream: AudioStream, output: OutputContainer, codec: str) -> None:
        source = stream.codec_context
        rate = _encoded_rate(codec, source.sample_rate)
        target = output.add_stream(codec, rate=rate, layout=_LAYOUTS.get(source.layout.nb_channels, "stereo"))
        assert isinstance(target, AudioStream)
        _copy_labels(stream, target)
        context = target.codec_context
        context.open()
        self._output = output
        self._target = target
        self._resampler = AudioResampler(context.format, context.layout, rate, context.frame_size or None)
        self._left_out = _LeftOut(target.type)

    def mux(self, packet: Packet[Stream]) -> None:
        """See `Carrier.mux`."""
        try:
            frames = packet.decode()
        except _DAMAGE as error:
            self._left_out.add_damaged(packet, error)
            return
        for frame in frames:
            self._encode(self._resampler.resample(frame))  # type: ignore[arg-type]  # an audio stream's packets

    def _encode(self, pieces: list[AudioFrame]) -> None:
        for piece in pieces:
            if piece.pts is None or self._left_out.goes_on(piece.pts * fraction_of(piece.time_base or 1)):
                self._output.mux(self._target.encode(piece))

    def finish(self) -> None:
        """See `Carrier.finish`."""
        self._encode(self._resampler.resample(None))
        self._output.mux(self._target.encode(None))
        self._left_out.report()


class TextCarrier:
    """Rewrites subtitles that are text in another of the text formats; one whose time jumps back is left out.

    Args:
        stream: The stream to carry.
        output: Where to.
        codec: The encoder's name.
    """

    def __init__(self, stream: Stream, output: OutputContainer, codec: str) -> None:
        decoder = stream.codec_context
        assert isinstance(decoder, SubtitleCodecContext)
        decoder.open(strict=False)
        target = output.add_stream(codec)
        encoder = target.codec_context
        assert isinstance(encoder, SubtitleCodecContext)
        encoder.subtitle_header = decoder.subtitle_header
        encoder.time_base = stream.time_base or Fraction(1, 1000)
        _copy_labels(stream, target)
        self._decoder, self._encoder = decoder, encoder
        self._output = output
        self._target = target
        self._left_out = _LeftOut(target.type)

    def mux(self, packet: Packet[Stream]) -> None:
        """See `Carrier.mux`."""
        if packet.dts is None:
            return
        try:
            subtitles = self._decoder.decode2(packet)
        except _DAMAGE as error:
            self._left_out.add_damaged(packet, error)
            return
        if subtitles is None or not len(subtitles) or not self._left_out.goes_on(packet.dts * packet.time_base):
            return
        encoded = self._encoder.encode_subtitle(subtitles)
        encoded.pts = encoded.dts = packet.pts
        encoded.duration = packet.duration
        encoded.time_base = packet.time_base
        encoded.stream = self._target
        self._output.mux(encoded)

    def finish(self) -> None:
        """See `Carrier.finish`."""
        self._left_out.report()


class _LeftOut:
    """Counts what is damaged or does not go on in time, since containers cannot hold it. Subtitles may share a time.

    Args:
        kind: Type of the stream.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._last_s: Fraction | None = None
        self._late = 0
        self._damaged = 0

    def goes_on(self, time_s: Fraction) -> bool:
        """Whether something of this time, in seconds, may follow; it is taken to follow then."""
        last_s = self._last_s
        if last_s is not None and (time_s < last_s or (time_s == last_s and self._kind != "subtitle")):
            self._late += 1
            return False
        self._last_s = time_s
        return True

    def add_damaged(self, packet: Packet[Stream], error: Exception) -> None:
        """Count a packet that is damaged."""
        self._damaged += 1
        log.debug("a damaged packet of %s at %s is left out: %s", self._kind, packet.pts, error)

    def report(self) -> None:
        """Tell how much was left out."""
        if self._damaged:
            log.warning("%d packets of %s are left out, since they are damaged", self._damaged, self._kind)
        if self._late:
            log.warning("%d packets of %s are left out, since their time jumps back", self._late, self._kind)


def _encoded_rate(codec: str, rate: int) -> int:
    """The sound's own rate where the encoder knows it, else the usual one; always that for Opus. In Hz."""
    known = Codec(codec, "w").audio_rates
    return rate if codec != "libopus" and (known is None or rate in known) else _USUAL_RATE


def _copy_labels(source: Stream, target: Stream) -> None:
    """Language, title and what the stream is for; figures about the old file are left behind."""
    labels = {key: value for key, value in source.metadata.items() if key in ("language", "title", "handler_name")}
    target.metadata.update(labels)
    target.disposition = source.disposition
