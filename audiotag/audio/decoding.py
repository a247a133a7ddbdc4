"""Reading recordings: any format, rate, depth and channel count → mono float32 at the rate a network wants.

libsndfile reads WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and their relatives; PyAV, where installed, the rest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiotag.audio.checks import check_samples
from audiotag.audio.containers import CONTAINER_SUFFIXES, container_blocks, probe_container
from audiotag.audio.encoded import EncodedAudio, Recording
from audiotag.audio.integrity import EndlessWav, check_complete, endless_content
from audiotag.audio.resampling import StreamResampler
from audiotag.errors import AudioError, OptionError

_ENDINGS = ".aif .aifc .aiff .au .bwf .caf .flac .mp3 .oga .ogg .opus .rf64 .snd .w64 .wav .wave"
AUDIO_SUFFIXES = CONTAINER_SUFFIXES | frozenset(_ENDINGS.split())
"""Endings, in lower case, of files that are taken for recordings when a folder is searched."""

_BLOCK_VALUES = 1 << 21
"""Most samples of all channels together that one block holds: 8 MiB, however many channels and whatever the rate."""

_UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives more frames than this for a file whose header leaves the length open."""

_MP3_SLACK = 2 * 1152
"""Samples that an MP3 may lack: without a header for it, libsndfile estimates its length from its size."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a recording says about itself.

    Attributes:
        path: The file, or the name of the recording in memory.
        sample_rate: Hz.
        frames: Samples of each channel.
        channels: Number of channels.
        seconds: Length.
        format: Container and encoding (``"WAV PCM_24"``).
        exact: False where frames and seconds are what a container of PyAV's states, and the sound may differ a little.
    """

    path: Path | str
    sample_rate: int
    frames: int
    channels: int
    seconds: float
    format: str
    exact: bool = True


def probe(path: str | Path | EncodedAudio) -> AudioInfo:
    """Read the header of a recording.

    Raises:
        AudioError: The file is missing, empty, a folder, truncated, without samples, or not a recording.
        MissingExtraError: It needs PyAV, which is not installed.
    """
    path = _check_file(path)
    place = path.name if isinstance(path, EncodedAudio) else path
    sound = _open(path)
    if sound is None:
        rate, channels, seconds, name = probe_container(path)
        return AudioInfo(place, rate, round(seconds * rate), channels, seconds, name, exact=False)
    with sound:
        frames, rate = sound.frames, sound.samplerate
        return AudioInfo(place, rate, frames, sound.channels, frames / rate, f"{sound.format} {sound.subtype}")


def read_audio(
    path: str | Path | EncodedAudio, sample_rate: int, *, start: float = 0.0, stop: float | None = None
) -> NDArray[np.float32]:
    """Read a recording, or a part of it, as mono at *sample_rate*.

    Channels are averaged, then the rate is changed (soxr, quality HQ). Integer samples are scaled to [−1, 1).

    Args:
        path: The file, or its bytes.
        sample_rate: Hz wanted.
        start: Seconds from which to read.
        stop: Seconds up to which to read; None, or beyond the end, for the end.

    Returns:
        float32 (samples,), at least one sample.

    Raises:
        AudioError: The file is missing, a folder, empty, truncated, damaged or not a recording; nothing lies between
            *start* and *stop*; or samples are NaN, infinite or scaled like integers.
        MissingExtraError: It needs PyAV, which is not installed.
        OptionError: *sample_rate*, *start* or *stop* cannot be.
    """
    return np.concatenate(list(stream_audio(path, sample_rate, start=start, stop=stop, block_seconds=600.0)))


def stream_audio(
    path: str | Path | EncodedAudio,
    sample_rate: int,
    *,
    start: float = 0.0,
    stop: float | None = None,
    block_seconds: float = 30.0,
) -> Iterator[NDArray[np.float32]]:
    """The samples of `read_audio`, bit for bit, in consecutive blocks and bounded memory.

    Args:
        path: The file, or its bytes.
        sample_rate: Hz wanted.
        start: Seconds from which to read.
        stop: Seconds up to which to read; None, or beyond the end, for the end.
        block_seconds: Longest block; files of a high rate or many channels come in shorter ones.

    Yields:
        float32 (samples,), none of them empty.

    Raises:
        AudioError: As `read_audio` raises; while the blocks are read.
        MissingExtraError: It needs PyAV, which is not installed.
        OptionError: An argument cannot be.
    """
    if sample_rate < 1 or not block_seconds > 0:
        raise OptionError(f"a rate of {sample_rate} Hz in blocks of {block_seconds} s cannot be", where=path)
    if not start >= 0 or (stop is not None and not stop > start):
        raise OptionError(f"there is no part from {start} s to {stop} s", where=path, fix="Give 0 <= start < stop.")
    path = _check_file(path)
    sound = _open(path)
    if sound is None:
        rate = probe_container(path)[0]
        blocks = _container_blocks(path, rate, start, stop)
    else:
        rate = sound.samplerate
        blocks = _soundfile_blocks(path, sound, start, stop, block_seconds)
    resampler = StreamResampler(rate, sample_rate)
    empty = True
    for block in blocks:
        check_samples(block, path)
        ready = resampler.process(block)
        if ready.size:
            empty = False
            yield ready
    rest = resampler.finish()
    if rest.size:
        yield rest
    elif empty:
        raise AudioError(f"there is no sound after {start:g} s", where=path, fix="Check the start of the part.")


def _check_file(path: str | Path | EncodedAudio) -> Recording:
    if isinstance(path, EncodedAudio):
        if not path.content:
            raise AudioError("the recording is empty", where=path, fix="Copy or record it again.")
        return path
    path = Path(path)
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise AudioError("the file does not exist", where=path, fix="Check the path.") from error
    except (OSError, ValueError) as error:  # a name too long, a null byte, no permission for the folder
        raise AudioError(f"the file cannot be reached: {error}", where=path, fix="Check the path.") from error
    if path.is_dir():
        raise AudioError("this is a folder, not a recording", where=path, fix="Name a file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError("this is a pipe or device, not a file", where=path, fix="Write the sound into a file first.")
    if status.st_size == 0:
        raise AudioError("the file is empty", where=path, fix="Copy or record it again.")
    return path


def _open(path: Recording) -> soundfile.SoundFile | None:
    """Open a recording with libsndfile; None where PyAV has to read it."""
    try:
        header = check_complete(path)
        if isinstance(path, EncodedAudio):
            sound = soundfile.SoundFile(endless_content(path, header).open())
        elif header.size_at is None:
            sound = soundfile.SoundFile(_native(path))
        else:
            sound = _EndlessSound(path, header.size_at)
    except soundfile.LibsndfileError as error:
        if path.suffix.lower() in CONTAINER_SUFFIXES:
            return None
        raise AudioError(
            f"it cannot be read as a recording ({error.error_string.rstrip('.')})",
            where=path,
            fix="Check that it is one; WAV, FLAC, Ogg and MP3 are read, and MP4 and others with audiotag[video].",
        ) from error
    except OSError as error:
        raise AudioError(f"the file cannot be read: {error}", where=path, fix="Check its permissions.") from error
    if sound.frames == 0:
        sound.close()
        raise AudioError("the recording has no samples", where=path, fix="Leave it out, or record it again.")
    if not header.reliable or sound.frames > _UNKNOWN_FRAMES:
        sound.close()
        return None
    return sound


def _native(path: Path) -> Path | bytes:
    """The name as the system stores it: soundfile encodes text strictly, and names need not be valid text."""
    return path if os.name == "nt" else os.fsencode(path)


class _EndlessSound(soundfile.SoundFile):  # type: ignore[misc] # soundfile has no types
    """A WAV without a length; closes the file object that libsndfile reads through, too."""

    def __init__(self, path: Path, size_at: int) -> None:
        self._source = EndlessWav(path, size_at)
        try:
            super().__init__(self._source)
        except BaseException:
            self._source.close()
            raise

    def close(self) -> None:
        """Close both."""
        super().close()
        self._source.close()


def _soundfile_blocks(
    path: Recording, sound: soundfile.SoundFile, start: float, stop: float | None, block_seconds: float
) -> Iterator[NDArray[np.float32]]:
    """Mono blocks at the file's own rate."""
    with sound:
        rate = sound.samplerate
        position = round(start * rate)
        end = sound.frames if stop is None else min(max(round(stop * rate), position + 1), sound.frames)
        if position >= end:
            return
        size = max(1, min(round(block_seconds * rate), _BLOCK_VALUES // sound.channels))
        try:
            if position:
                sound.seek(position)
            while position < end:
                block = sound.read(min(size, end - position), dtype="float32", always_2d=True)
                if len(block) == 0:
                    if sound.format == "MP3" and end - position <= _MP3_SLACK:
                        return
                    raise AudioError(
                        f"the file is truncated: it promises {sound.frames} samples and holds {position}",
                        where=path,
                        fix="Copy or download it again.",
                    )
                position += len(block)
                yield _mono(block)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"the file is damaged or truncated after {position / rate:.1f} s ({error.error_string.rstrip('.')})",
                where=path,
                fix="Copy or download it again.",
            ) from error


def _container_blocks(path: Recording, rate: int, start: float, stop: float | None) -> Iterator[NDArray[np.float32]]:
    """Mono blocks at the container's own rate.

    Containers seek to the nearest packet only, so the part is found by counting samples from the beginning.
    """
    begin = round(start * rate)
    end = None if stop is None else max(round(stop * rate), begin + 1)
    position = 0
    for block in container_blocks(path):
        part = block[max(begin - position, 0) : None if end is None else max(end - position, 0)]
        position += len(block)
        if len(part):
            yield _mono(part)
        if end is not None and position >= end:
            return


def _mono(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """The average over channels of (samples, channels)."""
    if block.shape[1] == 1:
        return np.ascontiguousarray(block[:, 0])
    # Adding columns is several times faster than a mean over the short axis.
    total = block[:, 0] + block[:, 1]
    for channel in range(2, block.shape[1]):
        total += block[:, channel]
    total /= block.shape[1]
    return total
