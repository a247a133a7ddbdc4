"""Sound that comes as it happens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.arrays import check_rate
from audiotag.audio.resampling import StreamResampler
from audiotag.audio.samples import check_samples
from audiotag.display import line


class AudioStream:
    """Sound without a gap whose end nobody knows; to be read once.

    In whatever pieces it comes, what is made of it is what would be made of a file with the same samples.

    Args:
        blocks: Consecutive pieces, float32 (samples,) in [−1, 1], mono; waits where the next has not come yet.
        sample_rate: Hz of the pieces.
        name: How messages and results call it.

    Raises:
        OptionError: The rate is none.

    Attributes:
        sample_rate: As above.
        name: As above.
    """

    def __init__(self, blocks: Iterable[NDArray[np.float32]], sample_rate: int, name: str = "stream") -> None:
        self.sample_rate = check_rate(sample_rate)
        self.name = name
        self._blocks = blocks
        self._samples = 0
        self._over = False

    def __repr__(self) -> str:
        return line(self, self.name, f"{self.sample_rate} Hz")

    @property
    def end(self) -> float:
        """Seconds at which it ended; infinite before it has."""
        return self._samples / self.sample_rate if self._over else math.inf

    def at_rate(self, sample_rate: int) -> Iterator[NDArray[np.float32]]:
        """Its pieces resampled, float32 (samples,), each as soon as it is ready.

        Raises:
            AudioError: Samples are NaN, infinite or scaled like integers.
        """
        resampler = StreamResampler(self.sample_rate, sample_rate)
        for block in self._blocks:
            if not block.size:
                continue
            check_samples(block, self.name)
            self._samples += block.size
            if (ready := resampler.process(block)).size:
                yield ready
        self._over = True
        if (rest := resampler.finish()).size:
            yield rest
