"""How fast a tagger is: clips one at a time, from waveform to scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from audiotag.errors import OptionError
from audiotag.inference.tagger import Tagger
from audiotag.seeding import numpy_generator

_LEAST_REPEATS = 3


@dataclass(frozen=True)
class Speed:
    """What a tagger needs for one clip.

    Attributes:
        seconds: Length of the clip.
        ms_per_clip: Median of the passes, in milliseconds.
        real_time_factor: That time as a share of the clip's length: 0.1 is ten times faster than real time.
        repeats: Passes that were timed.
        threads: CPU threads that torch computed with.
    """

    seconds: float
    ms_per_clip: float
    real_time_factor: float
    repeats: int
    threads: int


def measure_speed(
    tagger: Tagger,
    seconds: float,
    *,
    video_shape: Sequence[int] | None = None,
    threads: int | None = None,
    repeats: int = 20,
    warm_up: int = 3,
    budget_seconds: float = 10.0,
) -> Speed:
    """Time *tagger* on clips of faint noise, one at a time, at its own sample rate; reading files is not in it.

    Args:
        tagger: What is timed.
        seconds: Length of the clip.
        video_shape: (channels, height, width) of the picture that a model which sees gets; None for none.
        threads: CPU threads for torch to compute with; None leaves them as they are. They are put back.
        repeats: Passes to time.
        warm_up: Passes before these, in which memory is allocated and the network is made ready.
        budget_seconds: Fewer passes are timed, but three at least, where they would take longer than this.

    Raises:
        OptionError: A number is not above 0.
    """
    if not seconds > 0 or repeats < 1 or warm_up < 0 or (threads is not None and threads < 1):
        raise OptionError(
            f"speed cannot be measured with seconds {seconds}, repeats {repeats}, warm_up {warm_up}, threads {threads}",
            fix="Give numbers above 0.",
        )
    samples = max(1, round(seconds * tagger.sample_rate))
    waveform = numpy_generator(0, "speed").uniform(-0.1, 0.1, samples).astype(np.float32)
    video = None if video_shape is None else np.zeros(tuple(video_shape), dtype=np.float32)
    before = torch.get_num_threads()
    times: list[float] = []
    try:
        torch.set_num_threads(before if threads is None else threads)
        for _ in range(warm_up):
            tagger.scores(waveform, tagger.sample_rate, video=video)
        while len(times) < repeats and (len(times) < _LEAST_REPEATS or sum(times) < budget_seconds):
            started = time.perf_counter()
            tagger.scores(waveform, tagger.sample_rate, video=video)
            times.append(time.perf_counter() - started)
        used = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
    median = float(np.median(times))
    return Speed(seconds, 1000 * median, median / seconds, len(times), used)
