"""Made-up sound of a home, of any length: near silence, in which it is known what sounds when.

What it gives depends on the seed alone, and comes a second at a time, so that a day of it takes no memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiotag.live.sources.base import LiveSource, SoundBlock

KINDS = ("hiss", "hum", "knocks", "bell")
"""White noise; a hum of 200 Hz, four times a second; knocks, four a second; a bell of 1.5 kHz that rings out."""

_QUIET = 0.001  # −60 dB below full scale


class Sounding(NamedTuple):
    """A sound.

    Attributes:
        kind: One of `KINDS`.
        onset: Second at which it begins.
        offset: Second at which it ends.
    """

    kind: str
    onset: int
    offset: int


class HomeSound:
    """What sounds in a home.

    Args:
        seconds: Length.
        sample_rate: Hz.
        seed: Of the times, the kinds and the noise.
        kinds: What sounds, each as often as the others.
        pauses: Least and most seconds between sounds.
        lengths: Least and most seconds of a sound.

    Attributes:
        sample_rate: Hz.
        seconds: Length.
        sounds: All that sounds, in order.
    """

    def __init__(
        self,
        seconds: int,
        sample_rate: int = 16_000,
        seed: int = 0,
        *,
        kinds: Sequence[str] = KINDS,
        pauses: tuple[int, int] = (10, 50),
        lengths: tuple[int, int] = (1, 5),
    ) -> None:
        self.seconds, self.sample_rate, self._seed = seconds, sample_rate, seed
        generator = np.random.default_rng([seed, 0])
        self.sounds: list[Sounding] = []
        onset = int(generator.integers(*pauses, endpoint=True))
        while (offset := onset + int(generator.integers(*lengths, endpoint=True))) + pauses[0] <= seconds:
            self.sounds.append(Sounding(kinds[generator.integers(len(kinds))], onset, offset))
            onset = offset + int(generator.integers(*pauses, endpoint=True))

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """A block a second, float32 (samples,) in [−1, 1]."""
        generator = np.random.default_rng([self._seed, 1])
        times = np.arange(self.sample_rate) / self.sample_rate
        sounds = iter(self.sounds)
        now = next(sounds, None)
        for second in range(self.seconds):
            noise = generator.standard_normal(self.sample_rate, dtype=np.float32)
            block = _QUIET * noise
            if now is not None and second >= now.offset:
                now = next(sounds, None)
            if now is not None and second >= now.onset:
                block += _sound(now.kind, times, noise)
            yield np.clip(block, -1, 1)


def _sound(kind: str, times: NDArray[np.float64], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    if kind == "hiss":
        return 0.2 * noise
    if kind == "bell":
        sound = 0.5 * np.sin(2 * np.pi * 1500 * times) * np.exp(-times)
    else:
        hum = 0.5 * np.sin(2 * np.pi * (200 if kind == "hum" else 600) * times)
        sound = hum * (np.exp(-20 * (times % 0.25)) if kind == "knocks" else times % 0.25 < 0.125)
    return sound.astype(np.float32)


class HomeSource(LiveSource):
    """Home sound as a source: as fast as it is taken, or at the pace of time.

    Args:
        sound: What is heard.
        paced: Whether it comes as it would from a microphone, a tenth of a second at a time.
        before: Called with the seconds that have been given, before each second more.

    Attributes:
        came: Where paced: up to which second of the sound has come when, by the steady clock.
    """

    name = "home"
    endless = False

    def __init__(
        self, sound: HomeSound, *, paced: bool = False, before: Callable[[int], object] = lambda second: None
    ) -> None:
        self.waits = not paced
        self._sound, self._paced, self._before, self._closed = sound, paced, before, False
        self.came: list[tuple[float, float]] = []

    def blocks(self) -> Iterator[SoundBlock]:  # noqa: D102
        begin, rate, position = time.monotonic(), self._sound.sample_rate, 0
        for second, block in enumerate(self._sound.blocks()):
            self._before(second)
            for piece in np.split(block, 10) if self._paced else [block]:
                position += len(piece)
                if self._paced:
                    time.sleep(max(0.0, begin + position / rate - time.monotonic()))
                    self.came.append((position / rate, time.monotonic()))
                yield SoundBlock(piece[:, None], rate)
            if self._closed:
                return

    def close(self) -> None:  # noqa: D102
        self._closed = True
