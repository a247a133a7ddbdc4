"""Sound in containers that libsndfile does not know (MP4, Matroska, WMA, …), by PyAV, an optional dependency."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.encoded import EncodedAudio, Recording
from audiotag.errors import AudioError, MissingExtraError

_ENDINGS = (
    ".3gp .aac .ac3 .amr .ape .asf .avi .dts .eac3 .flv .m4a .m4b .m4v .mka .mkv .mov .mp2 "
    ".mp4 .mpeg .mpg .mts .ogv .tta .ts .webm .wma .wmv .wv"
)
CONTAINER_SUFFIXES = frozenset(_ENDINGS.split())
"""Endings of files that PyAV is tried on."""


def _import_av(path: Recording) -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError.for_package("av", "video", f"reading {path}") from error
    module: ModuleType = av
    return module


def _open(path: Recording) -> tuple[Any, Any, type[Exception]]:
    """(container, its first sound stream, the exception class of PyAV)."""
    av = _import_av(path)
    failure: type[Exception] = av.error.FFmpegError
    try:
        container = av.open(path.open() if isinstance(path, EncodedAudio) else str(path))
    except failure as error:
        raise AudioError(
            f"no decoder knows this file ({error})",
            where=path,
            fix="Check that it is a recording; convert it to WAV or FLAC if it is.",
        ) from error
    if not container.streams.audio:
        container.close()
        raise AudioError("there is no sound in this file", where=path, fix="Leave it out.")
    return container, container.streams.audio[0], failure


def probe_container(path: Recording) -> tuple[int, int, float, str]:
    """Sample rate (Hz), channels, seconds as the container states them, and format of the first sound stream.

    Raises:
        AudioError: The file is not a recording.
        MissingExtraError: PyAV is not installed.
    """
    container, stream, _ = _open(path)
    with container:
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1e6
        else:
            seconds = 0.0
        return stream.rate, stream.channels, seconds, f"{container.format.name} {stream.codec_context.name}"


def container_blocks(path: Recording) -> Iterator[NDArray[np.float32]]:
    """The sound of a container, decoded from its beginning: blocks float32 (samples, channels) at its own rate.

    Raises:
        AudioError: The file is not a recording or is damaged.
        MissingExtraError: PyAV is not installed.
    """
    container, stream, failure = _open(path)
    av = _import_av(path)
    # Only the numbers' format changes here: rate and channels stay those of the stream.
    converter = av.AudioResampler(format="fltp")
    with container:
        try:
            for frame in container.decode(stream):
                for converted in converter.resample(frame):
                    yield converted.to_ndarray().T
            for converted in converter.resample(None):
                yield converted.to_ndarray().T
        except failure as error:
            raise AudioError(
                f"the file is damaged or truncated ({error})", where=path, fix="Copy or download it again."
            ) from error
