"""Log-mel features by NumPy, where there is no torch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from audiotag.audio.frontends.log_mel import LogMel

_FRAMES_AT_ONCE = 64
"""So many are computed at once, whose spectra stay in a core's cache: a thousand take three times as long each."""
_MOST_WEIGHTS = 1024
"""So many weights are applied in one product of matrices: OpenBLAS takes threads for four times as much work."""


def log_mel_features(description: LogMel, waveform: ArrayLike) -> NDArray[np.float32]:
    """The features that `LogMelFrontEnd` computes, without torch.

    Args:
        description: What to compute.
        waveform: float (samples,) in [−1, 1].

    Returns:
        float32 (bands, frames).

    Raises:
        AudioError: The waveform is too short.
    """
    sound = np.asarray(waveform, dtype=np.float32)
    if sound.ndim != 1:
        raise ValueError(f"a waveform has one axis, not {sound.ndim}")
    count = description.count_frames(len(sound))
    frames = _frames(description, sound)[:count]
    features = np.full((description.bands, count), description.padding_value, dtype=np.float32)
    window, mel = _prepared(description)
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        part = frames[first : first + _FRAMES_AT_ONCE]
        spectrum = np.fft.rfft(_windowed(description, part, window), n=description.n_fft)
        energies = mel(np.square(spectrum.real) + np.square(spectrum.imag))
        features[:, first : first + len(part)] = _scaled(description, energies)
    if description.dynamic_range is not None:
        heard = features[:, : len(frames)]
        np.maximum(heard, heard.max() - np.float32(description.dynamic_range), out=heard)
    return features


def _scaled(description: LogMel, energies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logarithms of *energies* and the affine map, in their place."""
    if description.offset:
        energies += np.float32(description.offset)
    if description.floor:
        np.maximum(energies, np.float32(description.floor), out=energies)
    np.log(energies, out=energies)
    if description.log_scale != 1:
        energies *= np.float32(description.log_scale)
    energies += np.float32(description.shift)
    energies /= np.float32(description.scale)
    return energies


@lru_cache(maxsize=8)
def _prepared(description: LogMel) -> tuple[NDArray[np.float32], _Mel]:
    return _window(description), _Mel(description.filters)


class _Mel:
    """Filters applied to power spectra: a few bands at a time, from those bins that they take anything of.

    Each product is too small for BLAS to share it among threads, which would wait for cores that the network's threads
    hold: on a busy machine that took fifty times as long. It is also a tenth of the work of all bands and bins.
    """

    def __init__(self, filters: NDArray[np.float32]) -> None:
        self._count = len(filters)
        self._groups: list[tuple[slice, slice, NDArray[np.float32]]] = []
        first = 0
        while first < len(filters):
            stop, bins = first + 1, _bins(filters[first : first + 1])
            while stop < len(filters):
                more = _bins(filters[first : stop + 1])
                if (stop + 1 - first) * (more.stop - more.start) > _MOST_WEIGHTS:
                    break
                stop, bins = stop + 1, more
            self._groups.append((slice(first, stop), bins, np.ascontiguousarray(filters[first:stop, bins])))
            first = stop

    def __call__(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """Energies (bands, frames) of power spectra (frames, bins)."""
        energies = np.empty((self._count, len(power)), dtype=np.float32)
        for bands, bins, weights in self._groups:
            np.matmul(weights, power[:, bins].T, out=energies[bands])
        return energies


def _bins(filters: NDArray[np.float32]) -> slice:
    """From the first to the last bin that *filters* take anything of."""
    taken = np.flatnonzero(filters.any(axis=0))
    return slice(int(taken[0]), int(taken[-1]) + 1) if taken.size else slice(0, 0)


def _frames(description: LogMel, sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """All frames (frames, samples) as a view."""
    if description.remove_mean:
        sound = sound - sound.mean(dtype=np.float64).astype(np.float32)
    sound = np.pad(sound, (0, max(0, description.pad_samples - len(sound))))
    if not description.centred:
        return sliding_window_view(sound, len(description.window))[:: description.hop]
    if description.pre_emphasis:
        sound = sound[1:] - np.float32(description.pre_emphasis) * sound[:-1]
    return sliding_window_view(np.pad(sound, description.n_fft // 2, mode="reflect"), description.n_fft)[
        :: description.hop
    ]


def _window(description: LogMel) -> NDArray[np.float32]:
    """The window as long as a frame; that of centred frames lies in the middle of the transform."""
    if not description.centred:
        return description.window
    left = (description.n_fft - len(description.window)) // 2
    return np.pad(description.window, (left, description.n_fft - len(description.window) - left))


def _windowed(description: LogMel, frames: NDArray[np.float32], window: NDArray[np.float32]) -> NDArray[np.float32]:
    if description.centred:
        return frames * window
    level = np.subtract(frames, frames.mean(axis=1, keepdims=True), dtype=np.float32)
    before = np.concatenate([level[:, :1], level[:, :-1]], axis=1)
    emphasised: NDArray[np.float32] = level - np.float32(description.pre_emphasis) * before
    return emphasised * window
