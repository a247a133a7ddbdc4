"""Scores of frames over sound of any length, in bounded memory.

Squeeze-and-excitation, attention and recurrences look at all they are given, so that a network's frames depend on the
length of a pass, which is therefore always the trained one: blocks of it on a fixed grid, the last filled up with
zeros. Blocks overlap, and where they do the scores of one give way to those of the next, linearly: a frame near the
edge of a block, which has heard little of what lies beyond it, counts little, and an event over the edge is neither cut
nor doubled. The grid depends on the beginning of the sound alone, so that it does not matter in what pieces the sound
comes, nor how many blocks are computed at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.samples import loudest_level
from audiotag.audio.windows import Window
from audiotag.engines.interface import Engine, Floats
from audiotag.errors import OptionError
from audiotag.inference.combine import scores_of
from audiotag.inference.scorer import Scorer, batches_of
from audiotag.inference.sound import Source, end_of, place_of
from audiotag.inference.stages import through
from audiotag.inference.tags import WindowScores

OVERLAP = 0.1
"""Share of a block that overlaps with the next, where nobody says otherwise: a ninth more passes than without.

More did not find events over the edges of blocks any better (docs/performance.md)."""

_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class FrameScores:
    """Scores of consecutive frames.

    Attributes:
        onset: Seconds at which the first begins.
        seconds: Length of a frame.
        scores: float32 (frames, classes), probabilities.
        end: Seconds at which the sound that was read ends; the last frame may reach beyond.
    """

    onset: float
    seconds: float
    scores: Floats
    end: float

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds of the middles of the frames, float64 (frames,)."""
        return self.onset + (np.arange(len(self.scores), dtype=np.float64) + 0.5) * self.seconds


@dataclass(frozen=True)
class FrameGrid:
    """Where blocks lie, in frames of the recording.

    Attributes:
        frame_seconds: Length of a frame.
        sample_rate: Hz of the waveforms.
        block_samples: Samples of a block: what the network was trained on.
        block: Frames of a block, the last of which may end after it.
        step: Frames between the beginnings of blocks.
    """

    frame_seconds: float
    sample_rate: int
    block_samples: int
    block: int
    step: int

    @classmethod
    def of(cls, engine: Engine, overlap: float | None) -> FrameGrid:
        """The grid of *engine*, whose blocks overlap for *overlap* seconds; None for `OVERLAP`.

        Raises:
            OptionError: The engine scores no frames, or *overlap* is no more than half a block.
        """
        facts = engine.facts
        if facts.frame_seconds is None or facts.inputs != ("waveform",):
            raise OptionError(
                "the model scores whole clips, and no frames",
                where=facts.name,
                fix="Score short windows (score_windows), or take a model whose frames are scored (fmn10_strong, say).",
            )
        lengths, seconds = facts.lengths, facts.frame_seconds
        block = max(1, math.ceil(lengths.clip / seconds - _ROUNDING))
        if overlap is None:
            overlap = OVERLAP * lengths.clip
        if not 0 <= overlap <= lengths.clip / 2:
            raise OptionError(
                f"an overlap of {overlap} s does not suit blocks of {lengths.clip:g} s",
                where=facts.name,
                fix="Give 0 up to half of it.",
            )
        whole = max(1, math.floor(lengths.clip / seconds + _ROUNDING))  # no sound may lie between two blocks
        step = max(1, min(block - round(overlap / seconds), whole))
        return cls(seconds, lengths.sample_rate, lengths.clip_samples, block, step)

    @property
    def step_samples(self) -> int:
        """Samples between the beginnings of blocks."""
        return min(max(1, round(self.step * self.frame_seconds * self.sample_rate)), self.block_samples)

    def frames(self, samples: int) -> int:
        """Frames that begin within *samples*, at least one."""
        return max(1, math.ceil(samples / (self.sample_rate * self.frame_seconds) - _ROUNDING))

    def fitted(self, scores: Floats) -> Floats:
        """A block's scores (blocks, frames, classes) with as many frames as a block has.

        Networks round the number of frames up or down, or pad sound beyond the block.
        """
        missing = self.block - scores.shape[1]
        return scores[:, : self.block] if missing <= 0 else np.pad(scores, ((0, 0), (0, missing), (0, 0)), "edge")


def score_frames(
    scorer: Scorer, source: Source, *, overlap: float | None, batch_size: int, gate_db: float | None = None
) -> Iterator[FrameScores]:
    """Scores of the frames of a recording by the only engine, a step of the grid at a time.

    Args:
        scorer: Has one engine, which scores frames.
        source: The recording.
        overlap: Seconds for which blocks overlap; None for a tenth of a block.
        batch_size: Blocks computed at a time.
        gate_db: A block in which no tenth of a second is this loud is not computed: its scores are 0.

    Raises:
        AudioError: The recording cannot be read, or the network's answer is not finite; possibly after some frames.
        OptionError: As `FrameGrid.of` raises.
    """
    engine = scorer.only_engine()
    grid = FrameGrid.of(engine, overlap)
    blocks = scorer.reader.blocks(source, grid.block_samples, grid.step_samples)
    batches = batches_of(source, blocks, batch_size)
    rows = _Rows(scorer, engine, grid, place_of(source), gate_db)
    return _faded(grid, rows.of(batches), end_of(source))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Scores blocks."""

    scorer: Scorer
    engine: Engine
    grid: FrameGrid
    where: str
    gate_db: float | None

    def of(self, batches: Iterable[list[tuple[Window, int]]]) -> Iterator[tuple[int, int, Floats]]:
        """Of each block its number, the samples of the recording up to its end, and its frames' scores."""
        number = 0
        for batch in batches:
            loud = [place for place, (window, _) in enumerate(batch) if self._is_loud(window)]
            scores = np.zeros((len(batch), self.grid.block, len(self.engine.facts.labels)), dtype=np.float32)
            if loud:
                scores[loud] = self._scores(np.stack([batch[place][0].samples for place in loud]))
            for (window, own), block in zip(batch, scores, strict=True):
                yield number, window.start + own, block
                number += 1

    def _is_loud(self, window: Window) -> bool:
        return self.gate_db is None or loudest_level(window.samples, self.grid.sample_rate) >= self.gate_db

    def _scores(self, waveforms: Floats) -> Floats:
        logits = self.engine.frame_logits(waveforms)
        self.scorer.require_finite(self.where, logits)
        single_label = self.engine.facts.single_label
        return self.grid.fitted(scores_of(logits.reshape(-1, logits.shape[2]), single_label).reshape(logits.shape))


def _faded(
    grid: FrameGrid, blocks: Iterable[tuple[int, int, Floats]], longest: Callable[[], float]
) -> Iterator[FrameScores]:
    """Each frame once: where blocks overlap, the scores of one give way to those of the next."""
    shared = grid.block - grid.step
    rising = ((np.arange(shared, dtype=np.float32) + 0.5) / max(1, shared))[:, None]
    waiting: Floats | None = None  # the end of the block before, which the next one is faded into
    first = samples = 0

    def part(first: int, scores: Floats) -> FrameScores:
        seconds = min(samples / grid.sample_rate, longest())
        return FrameScores(
            first * grid.frame_seconds, grid.frame_seconds, scores[: grid.frames(samples) - first], seconds
        )

    for number, samples, scores in blocks:  # noqa: B007 # part looks at them
        if waiting is not None:
            scores = np.concatenate([waiting + rising * (scores[:shared] - waiting), scores[shared:]])
        first = number * grid.step
        yield part(first, scores[: grid.step])
        waiting = scores[grid.step :]
    if waiting is not None and grid.frames(samples) > first + grid.step:
        yield part(first + grid.step, waiting)


class FrameCells:
    """Frames as cells with onset and offset, or several at a time with the mean of their scores.

    Args:
        resolution: Seconds of a cell, rounded to whole frames, at least one; None for one frame.
    """

    def __init__(self, resolution: float | None = None) -> None:
        self._resolution = resolution
        self._held: Floats | None = None
        self._index = 0
        self._length, self._end = 0.0, math.inf

    def push(self, part: FrameScores) -> list[WindowScores]:
        """The cells that are whole with *part*, which follows the one before without a gap."""
        count = 1 if self._resolution is None else max(1, round(self._resolution / part.seconds))
        self._length, self._end = count * part.seconds, part.end
        scores = part.scores if self._held is None else np.concatenate([self._held, part.scores])
        whole = len(scores) // count
        self._held = scores[whole * count :]
        return [self._next(cell) for cell in scores[: whole * count].reshape(whole, count, scores.shape[1]).mean(1)]

    def finish(self) -> list[WindowScores]:
        """The last cell, where it is shorter than the others."""
        return [] if self._held is None or not len(self._held) else [self._next(self._held.mean(0))]

    def _next(self, scores: Floats) -> WindowScores:
        onset, offset = self._index * self._length, min((self._index + 1) * self._length, self._end)
        self._index += 1
        return WindowScores(onset, max(onset, offset), scores)  # the end may lie a rounding error before a frame


def frame_cells(parts: Iterable[FrameScores], resolution: float | None = None) -> Iterator[WindowScores]:
    """All that `FrameCells` makes of *parts*, which are in order and without gaps."""
    return through(FrameCells(resolution), parts)
