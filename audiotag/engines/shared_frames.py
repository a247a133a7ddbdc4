"""Spectrograms of windows that overlap: a frame that two of them have in common is computed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from audiotag.audio.frontends.log_mel import LogMel
from audiotag.engines.interface import Floats, stacked


@dataclass(frozen=True)
class _Plan:
    """Where a window's frames come from, if the window before it began `step` frames earlier.

    Attributes:
        step: Frames between the beginnings of both.
        first: The frames before this one see where the window begins.
        kept: Those from `first` to this one are the earlier window's; those from here on are new.
        head: So many samples give the frames before `first`.
        tail: From this sample on there are `first` frames of no use, and then the new ones.
    """

    step: int
    first: int
    kept: int
    head: int
    tail: int


class SharedFrames:
    """Computes spectrograms of the windows over one recording, in their order.

    Windows that begin a whole number of frames apart have the same frames, but for those at their ends, which see the
    waveform reflected there: the others are taken from the window before. (The mean that `LogMel.remove_mean` takes
    off differs from window to window, but vanishes with each frame's own.) Where a window's loudest moment decides
    (`LogMel.dynamic_range`), nothing is shared.

    Args:
        description: The front end.
        compute: float32 (batch, samples) to float32 (batch, bands, frames), as *description* says.
    """

    def __init__(self, description: LogMel, compute: Callable[[Floats], Floats]) -> None:
        self._description = description
        self._compute = compute
        self._start: int | None = None
        self._samples = 0
        self._before: Floats | None = None

    def spectrograms(self, starts: Sequence[int | None], waveforms: Floats) -> Floats:
        """The spectrograms (windows, bands, frames) of the next windows.

        Args:
            starts: Position in the recording of each window's first sample; None where it is no piece of it.
            waveforms: float32 (windows, samples).
        """
        waveforms = waveforms[:, : self._description.longest()]
        plans = self._plans(starts, waveforms.shape[1])
        rows: dict[_Plan | None, list[int]] = defaultdict(list)
        for row, plan in enumerate(plans):
            rows[plan].append(row)
        made: dict[int, tuple[Floats | None, Floats]] = {}
        for plan, members in rows.items():
            if plan is None:
                made |= {row: (None, whole) for row, whole in zip(members, self._of(waveforms[members]), strict=True)}
                continue
            tails = self._of(waveforms[members, plan.tail :])
            heads = self._of(waveforms[members, : plan.head]) if plan.first else [None] * len(members)
            made |= dict(zip(members, zip(heads, tails, strict=True), strict=True))
        spectrograms = [self._joined(plan, *made[row]) for row, plan in enumerate(plans)]
        self._start, self._samples = starts[-1], waveforms.shape[1]
        return stacked(spectrograms)

    def _of(self, waveforms: Floats) -> Floats:
        return self._compute(np.ascontiguousarray(waveforms))

    def _joined(self, plan: _Plan | None, head: Floats | None, tail: Floats) -> Floats:
        """The spectrogram of the next window, which the one after it is made of."""
        if plan is None:
            self._before = tail
            return tail
        before = self._before
        assert before is not None  # a plan has a window before it
        joined = before.copy()
        joined[:, plan.first : plan.kept] = before[:, plan.first + plan.step : plan.kept + plan.step]
        new = tail[:, plan.first : plan.first + joined.shape[1] - plan.kept]
        joined[:, plan.kept : plan.kept + new.shape[1]] = new
        if head is not None:
            joined[:, : plan.first] = head[:, : plan.first]
        self._before = joined
        return joined

    def _plans(self, starts: Sequence[int | None], samples: int) -> list[_Plan | None]:
        plans = []
        before = self._start if self._samples == samples else None
        for start in starts:
            plans.append(None if start is None or before is None else self._plan(start - before, samples))
            before = start
        return plans

    def _plan(self, step: int, samples: int) -> _Plan | None:
        """None where computing the whole window is less work, or the only way."""
        description = self._description
        least = max(description.min_samples, description.pad_samples)
        whole = step % description.hop == 0 and description.frame_by_frame
        if step <= 0 or not whole or samples < least:
            return None
        first, stop = description.inner_frames(samples)
        kept = stop - step // description.hop
        head = max(description.n_fft + (first + 1) * description.hop, least) if first else 0
        tail = (kept - first) * description.hop
        if tail <= head or samples - tail < least:
            return None
        return _Plan(step // description.hop, first, kept, head, tail)
