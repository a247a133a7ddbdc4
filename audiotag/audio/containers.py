"""Sound in files that libsndfile does not know (MP4, Matroska, WMA, …), by PyAV, an optional dependency."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.encoded import Recording, open_bytes
from audiotag.audio.failures import decoding, truncated
from audiotag.audio.resampling import StreamResampler
from audiotag.audio.samples import MonoMix
from audiotag.errors import AudioError, MissingExtraError, needed_for

_ENDINGS = (
    ".3g2 .3gp .aac .ac3 .adts .amr .ape .asf .avi .dts .eac3 .flv .m4a .m4b .m4v .mka .mkv .mov .mp2 "
    ".mp4 .mpeg .mpg .mts .ogv .tta .ts .webm .wma .wmv .wv"
)
CONTAINER_SUFFIXES = frozenset(_ENDINGS.split())
"""Endings of files that only PyAV reads."""

_FORMATS = (
    "aac ac3 aiff amr amrnb amrwb ape asf asf_o au avi caf dsf dts dtshd dv eac3 flac flv gsm iff latm loas m4v "
    "matroska,webm mlp mov,mp4,m4a,3gp,3g2,mj2 mp3 mpc mpc8 mpeg mpegts mpegvideo mxf nut ogg oma rm sox spdif tak "
    "truehd tta voc w64 wav wtv wv xwma"
)
OPTIONS = {"format_whitelist": _FORMATS.replace(" ", ","), "protocol_whitelist": "none"}
"""Nothing but containers of sound and pictures: no playlists, and no address that a file names is ever asked."""

_STATE_LENGTHS = {"aiff", "ape", "asf", "avi", "caf", "flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "tta", "voc"}
_STATE_LENGTHS |= {"rm", "w64", "wav", "wv"}
"""Formats whose length stands in the file; elsewhere FFmpeg guesses it from the bit rate."""


class MissingDecoderError(AudioError, MissingExtraError):
    """A recording needs PyAV, which is not installed; the other recordings of a run may not."""


def import_av(purpose: str) -> ModuleType:
    """The module ``av``.

    Raises:
        MissingExtraError: It is not installed; *purpose* is what needs it.
    """
    with needed_for(purpose, error=MissingDecoderError):
        import av
    module: ModuleType = av
    return module


@contextmanager
def open_container(path: Recording) -> Iterator[Any]:
    """A file opened by PyAV: by its bytes alone, never by its name, which might be an address.

    Raises:
        AudioError: No decoder knows the file.
        MissingExtraError: PyAV is not installed.
    """
    av = import_av(f"reading {path}")
    with open_bytes(path) as file:
        # Only these methods: FFmpeg guesses formats from names, and the same bytes must always read alike.
        handle = SimpleNamespace(read=file.read, seek=file.seek, tell=file.tell)
        with decoding(
            path,
            "it cannot be read as a recording: no decoder knows this file",
            "Check that it is one; convert it to WAV or FLAC if it is.",
        ):
            container = av.open(handle, options=OPTIONS, metadata_errors="replace")
        with container:
            yield container


def sound_of(container: Any, path: object) -> Any:
    """The first sound stream that can be decoded.

    Raises:
        AudioError: There is none.
    """
    streams = container.streams.audio
    if not streams:
        raise AudioError("there is no sound in this file", where=path, fix="Leave it out.")
    for stream in streams:
        if stream.codec_context is not None:
            return stream
    raise AudioError("no decoder knows the encoding of its sound", where=path, fix="Convert it to WAV or FLAC.")


class SoundFrames:
    """Frames of PyAV as samples.

    Args:
        av: The module.

    Attributes:
        changed: Whether the last frame had another rate, layout or format than the one before.
    """

    def __init__(self, av: ModuleType) -> None:
        self._av = av
        self._shape: tuple[Any, ...] | None = None
        self._converter: Any = None
        self.changed = False

    def samples(self, frame: Any) -> Iterator[NDArray[np.float32]]:
        """Float32 (samples, channels) at the frame's own rate."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        self.changed = shape != self._shape
        if self.changed:
            # Only the numbers' format changes here. In one plane: with more than eight, PyAV reads past their list.
            self._shape, self._converter = shape, self._av.AudioResampler(format="flt")
        for converted in self._converter.resample(frame):
            yield converted.to_ndarray().reshape(-1, converted.layout.nb_channels)


def probe_container(path: Recording) -> tuple[int, int, float, str]:
    """Sample rate (Hz), channels, seconds as the container states them, and format of the first sound stream.

    Raises:
        AudioError: The file is not a recording.
        MissingExtraError: PyAV is not installed.
    """
    with open_container(path) as container, decoding(path):
        stream = sound_of(container, path)
        seconds = _stated(container, stream)
        return stream.rate or 0, stream.channels, seconds, f"{container.format.name} {stream.codec_context.name}"


def _stated(container: Any, stream: Any) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6


def container_blocks(path: Recording, rate: int, mix: MonoMix) -> Iterator[NDArray[np.float32]]:
    """The sound of a container, decoded from its beginning.

    Rate and channels may change on the way (broadcasts and joined files do): what comes in another rate than the first
    is resampled, and channels are averaged before.

    Args:
        path: What to read.
        rate: Hz of the first sound stream, as `probe_container` tells it.
        mix: Averages channels.

    Yields:
        float32 (samples,) at *rate*.

    Raises:
        AudioError: The file is not a recording, is damaged, or ends before it should.
        MissingExtraError: PyAV is not installed.
    """
    av = import_av(f"reading {path}")
    with open_container(path) as container, decoding(path):
        stream = sound_of(container, path)
        # A film may be longer than its sound.
        alone = len(container.streams) == 1
        exact = container.format.name in _STATE_LENGTHS and (stream.duration is not None or alone)
        promised = _stated(container, stream) if exact else 0.0
        begin = float((stream.start_time or 0) * (stream.time_base or 0))
        frames, resampler = SoundFrames(av), StreamResampler(rate, rate)
        reached = heard = 0.0
        for frame in container.decode(stream):
            blocks = list(frames.samples(frame))
            if frames.changed:
                if (rest := resampler.finish()).size:
                    yield rest
                resampler = StreamResampler(frame.sample_rate, rate)
            heard += frame.samples / frame.sample_rate
            reached = max(heard, 0.0 if frame.time is None else frame.time - begin + frame.samples / frame.sample_rate)
            for samples in blocks:
                if (block := resampler.process(mix(samples))).size:
                    yield block
        if (rest := resampler.finish()).size:
            yield rest
        if reached < promised - max(0.1, 0.002 * promised):
            raise truncated(path, f"{promised:.2f} s", f"{reached:.2f} s")
