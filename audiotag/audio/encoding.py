"""Samples as the bytes of a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiotag.errors import AudioError
from audiotag.files import write_atomically

MP3_LEVEL = 0.5
"""Compression of MP3s, from 0 (best) to 1 (smallest), as libsndfile counts: 160 kbit/s from 32 kHz on."""


def write_sound(path: Path, waveform: NDArray[np.floating[Any]], sample_rate: int, subtype: str) -> None:
    """Write samples to *path*, in the format of its ending; see `audiotag.files.atomic_path`.

    Args:
        path: A ``.wav``, ``.flac`` or ``.ogg``.
        waveform: float (samples,) or (samples, channels) in [−1, 1].
        sample_rate: Hz.
        subtype: The coding, as soundfile names it (``PCM_16``).

    Raises:
        OutputError: It cannot be written.
    """
    # libsndfile does not say why it cannot write to a disk
    write_atomically(path, _encoded(waveform, sample_rate, path.suffix[1:], subtype))


def write_pcm16(path: Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """Write samples to *path*, a ``.wav`` or ``.flac``, with 16 bits: those that were read from 16 bits are the same.

    Args:
        path: The file.
        waveform: float32 (samples,); what leaves [−1, 1) is clipped.
        sample_rate: Hz.

    Raises:
        AudioError: The format has no such sample rate.
        OutputError: It cannot be written.
    """
    # libsndfile multiplies by 32767, and decoders divide by 32768.
    samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    try:
        content = _encoded(samples, sample_rate, path.suffix[1:], "PCM_16")
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{sample_rate} Hz cannot be written as {path.suffix[1:]} ({error.error_string.rstrip('.')})",
            where=path,
            fix="Take wav, or another --sample-rate.",
        ) from error
    write_atomically(path, content)


def encode_lossless(waveform: NDArray[np.float32], sample_rate: int) -> tuple[bytes, str]:
    """Samples as 24-bit FLAC, or as a WAV of floats where they leave [−1, 1], as resampled sound may.

    Read back, FLAC differs by at most 2⁻²³, and the WAV not at all.

    Args:
        waveform: float32 (samples,), at least one, all finite.
        sample_rate: Hz.

    Returns:
        The bytes, and the file ending that goes with them.
    """
    fits = float(np.abs(waveform).max()) <= 1.0
    container, subtype, suffix = ("FLAC", "PCM_24", ".flac") if fits else ("WAV", "FLOAT", ".wav")
    return _encoded(waveform, sample_rate, container, subtype), suffix


def encode_mp3(waveform: NDArray[np.float32], sample_rate: int) -> bytes:
    """Samples as an MP3 of constant bit rate; what leaves [−1, 1] is clipped, as the format demands.

    Args:
        waveform: float32 (samples,).
        sample_rate: Hz; one that MP3 knows (8, 11.025, 12, 16, 22.05, 24, 32, 44.1 or 48 kHz).

    Raises:
        AudioError: The rate is none of them.
    """
    clipped, how = np.clip(waveform, -1.0, 1.0), {"compression_level": MP3_LEVEL, "bitrate_mode": "CONSTANT"}
    try:
        return _encoded(clipped, sample_rate, "MP3", "MPEG_LAYER_III", **how)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{sample_rate} Hz cannot be written as MP3 ({error.error_string.rstrip('.')})",
            fix="Take one of 16000, 22050, 24000, 32000, 44100 and 48000.",
        ) from error


def _encoded(
    waveform: NDArray[np.floating[Any] | np.int16], rate: int, container: str, subtype: str, **how: Any
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format=container, subtype=subtype, **how)
    return buffer.getvalue()
