"""Reading recordings: any format, rate, depth and channel count → mono float32 at the rate a network wants.

libsndfile reads WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and their relatives; PyAV, where installed, whatever else it
knows. What a file is called does not matter. What is done about damage stands in docs/formats.md.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiotag import places
from audiotag.audio.containers import CONTAINER_SUFFIXES, MissingDecoderError, container_blocks, probe_container
from audiotag.audio.encoded import EncodedAudio, Part, Recording
from audiotag.audio.failures import decoding, truncated
from audiotag.audio.integrity import Piece, inspect
from audiotag.audio.resampling import StreamResampler
from audiotag.audio.samples import RATES, MonoMix, check_samples
from audiotag.display import brief_repr
from audiotag.errors import EXTRAS, AudioError, OptionError, RecordingWarning

_ENDINGS = ".aif .aifc .aiff .au .bwf .caf .flac .mp3 .nist .oga .ogg .opus .rf64 .snd .sph .voc .w64 .wav .wave"
AUDIO_SUFFIXES = CONTAINER_SUFFIXES | frozenset(_ENDINGS.split())
"""Endings, in lower case, of files that are taken for recordings when a folder is searched."""

_BLOCK_VALUES = 1 << 18
"""Most samples of all channels together that one block holds, however many channels and whatever the rate: 1 MiB,
which are mixed, checked and resampled while they are in a core's cache. Blocks of a minute take half as long again."""

_UNKNOWN_FRAMES = 1 << 62
"""libsndfile gives more frames than this for a file whose header leaves the length open."""

_SLACK = 4 * 1152
"""Samples that an MP3, alone or in a WAV, may lack: its header counts what the encoder added at both ends."""

MOST_CHANNELS = 1024
"""Channels of a recording, as libsndfile counts too."""


@brief_repr
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
    infos = [_probe_piece(piece) for piece in inspect(path).pieces]
    first, place = infos[0], path.name if isinstance(path, EncodedAudio) else path
    seconds = sum(info.seconds for info in infos)
    frames = first.frames if len(infos) == 1 else round(seconds * first.sample_rate)
    exact = all(info.exact for info in infos)
    return AudioInfo(place, first.sample_rate, frames, first.channels, seconds, first.format, exact)


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
    return np.concatenate(list(stream_audio(path, sample_rate, start=start, stop=stop)))


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
        block_seconds: Longest block; most come in shorter ones, which are quicker.

    Yields:
        float32 (samples,), none of them empty.

    Raises:
        AudioError: As `read_audio` raises; while the blocks are read.
        MissingExtraError: It needs PyAV, which is not installed.
        OptionError: An argument cannot be.

    Warns:
        RecordingWarning: After the last block: the header or the bytes around the sound are not as they should be, or
            channels cancel each other.
    """
    if sample_rate < 1 or not block_seconds > 0:
        raise OptionError(f"{sample_rate} Hz or blocks of {block_seconds} s are out of range", where=path)
    if not start >= 0 or (stop is not None and not stop > start):
        raise OptionError(
            f"the part from {start} s to {stop} s is out of range", where=path, fix="Give 0 <= start < stop."
        )
    path = _check_file(path)
    layout = inspect(path)
    mix = MonoMix()
    rate, blocks = _blocks(layout.pieces, start, stop, block_seconds, mix)
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
    for note in (*layout.notes, mix.note()):
        if note is not None:
            # From here whoever reads: Python says each text once for each place.
            warnings.warn(RecordingWarning(f"{path}: {note}."), stacklevel=1)


def _check_file(path: str | Path | EncodedAudio) -> Path | EncodedAudio:
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


def _probe_piece(piece: Piece) -> AudioInfo:
    """What a piece says about itself."""
    place = str(piece.recording)
    sound = _open(piece)
    if sound is None:
        rate, channels, seconds, name = probe_container(piece.recording)
        _check_shape(piece, rate, channels)
        return AudioInfo(place, rate, round(seconds * rate), channels, seconds, name, exact=False)
    with sound:
        frames, rate = sound.frames, sound.samplerate
        return AudioInfo(place, rate, frames, sound.channels, frames / rate, f"{sound.format} {sound.subtype}")


def _check_shape(piece: Piece, rate: int, channels: int) -> None:
    if not rate or not channels:
        raise AudioError(
            "the file is damaged or truncated: it states no sample rate",
            where=piece.recording,
            fix="Copy or download it again.",
        )
    if not RATES[0] <= rate <= RATES[1] or not 1 <= channels <= MOST_CHANNELS:
        raise AudioError(
            f"its header states a rate of {rate} Hz and {channels} channels, and recordings have {RATES[0]} to "
            f"{RATES[1]} Hz and 1 to {MOST_CHANNELS}",
            where=piece.recording,
            fix="Repair the header if the sound is whole, or leave it out.",
        )


def _open(piece: Piece) -> soundfile.SoundFile | None:
    """Open a piece with libsndfile; None where PyAV has to read it."""
    recording = piece.recording
    with decoding(recording, "it cannot be read as a recording", "Check that it is one."):
        try:
            if isinstance(recording, Path):
                # soundfile encodes names strictly, and names need not be valid text.
                sound = soundfile.SoundFile(recording if places.WINDOWS else os.fsencode(recording))
            else:
                sound = _SoundInPart(recording)
        except soundfile.LibsndfileError as error:
            _require_av(recording, error.error_string.rstrip("."))
            return None
    guessed = False
    try:
        _check_shape(piece, sound.samplerate, sound.channels)
        if sound.frames == 0:
            raise AudioError("the recording has no samples", where=recording, fix="Leave it out, or record it again.")
        if sound.format == "MP3":
            # Without frames that follow each other libsndfile takes noise for an MP3.
            guessed = piece.samples is None or abs(sound.frames - piece.samples) > piece.slack
    except BaseException:
        sound.close()
        raise
    if guessed or sound.frames > _UNKNOWN_FRAMES:
        sound.close()
        _require_av(recording, "libsndfile only guesses its length")
        return None
    return sound


def _require_av(recording: Recording, reason: str) -> None:
    """Make sure that PyAV can try what libsndfile does not read, whatever its name ends with."""
    try:
        import av  # noqa: F401 # only whether it is there
    except ModuleNotFoundError as error:
        raise MissingDecoderError(
            f"it cannot be read as a recording ({reason})",
            where=recording,
            fix="Check that it is one; WAV, FLAC, Ogg and MP3 are read, and MP4 and many others once PyAV is "
            f"installed: pip install '{EXTRAS['av']}'",
        ) from error


class _SoundInPart(soundfile.SoundFile):  # type: ignore[misc] # soundfile has no types
    """Sound that libsndfile reads through a file object; closes that, too."""

    def __init__(self, recording: Part | EncodedAudio) -> None:
        if isinstance(recording, EncodedAudio):
            recording = Part(recording, 0, len(recording.content))
        self._source = recording.open()
        try:
            super().__init__(self._source)
        except BaseException:
            self._source.close()
            raise

    def close(self) -> None:
        """Close both."""
        super().close()
        self._source.close()


def _blocks(
    pieces: tuple[Piece, ...], start: float, stop: float | None, block_seconds: float, mix: MonoMix
) -> tuple[int, Iterator[NDArray[np.float32]]]:
    """The rate of the first piece (Hz), and mono blocks at it from *start* to *stop* in all of them."""
    first = _open(pieces[0])
    if len(pieces) == 1 and first is not None:
        return first.samplerate, _soundfile_blocks(pieces[0].recording, first, start, stop, block_seconds, mix)
    if first is not None:
        rate = first.samplerate
        first.close()
    else:
        rate, channels, _, _ = probe_container(pieces[0].recording)
        _check_shape(pieces[0], rate, channels)
    return rate, _between(_in_turn(pieces, rate, block_seconds, mix), rate, start, stop)


def _in_turn(pieces: tuple[Piece, ...], rate: int, block_seconds: float, mix: MonoMix) -> Iterator[NDArray[np.float32]]:
    """Mono blocks at *rate* from all pieces, from beginning to end."""
    for piece in pieces:
        sound = _open(piece)
        if sound is None:
            yield from container_blocks(piece.recording, rate, mix)
            continue
        resampler = StreamResampler(sound.samplerate, rate)
        for block in _soundfile_blocks(piece.recording, sound, 0.0, None, block_seconds, mix):
            if (ready := resampler.process(block)).size:
                yield ready
        if (rest := resampler.finish()).size:
            yield rest


def _soundfile_blocks(
    recording: object,
    sound: soundfile.SoundFile,
    start: float,
    stop: float | None,
    block_seconds: float,
    mix: MonoMix,
) -> Iterator[NDArray[np.float32]]:
    """Mono blocks at the file's own rate."""
    with sound:
        rate = sound.samplerate
        position = round(start * rate)
        end = sound.frames if stop is None else min(max(round(stop * rate), position + 1), sound.frames)
        if position >= end:
            return
        size = max(1, min(round(block_seconds * rate), _BLOCK_VALUES // sound.channels))
        with decoding(recording):
            if position:
                sound.seek(position)
            while position < end:
                block = sound.read(min(size, end - position), dtype="float32", always_2d=True)
                if len(block) == 0:
                    # libsndfile calls MP2 and MP3 alike, whatever they are in.
                    if sound.subtype.startswith("MPEG") and end - position <= _SLACK:
                        return
                    raise truncated(recording, f"{sound.frames} samples", str(position))
                position += len(block)
                yield mix(block)


def _between(
    blocks: Iterator[NDArray[np.float32]], rate: int, start: float, stop: float | None
) -> Iterator[NDArray[np.float32]]:
    """The samples between two times.

    Containers seek to the nearest packet only, so the part is found by counting samples from the beginning.
    """
    begin = round(start * rate)
    end = None if stop is None else max(round(stop * rate), begin + 1)
    position = 0
    for block in blocks:
        part = block[max(begin - position, 0) : None if end is None else max(end - position, 0)]
        position += len(block)
        if len(part):
            yield part
        if end is not None and position >= end:
            return
