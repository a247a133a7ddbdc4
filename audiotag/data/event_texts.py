"""What lists say of when classes are heard: times and labels as they are written, checked and cut to the clips."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from audiotag.data.label_texts import Finder, LabelTexts
from audiotag.data.sound_events import EventColumns
from audiotag.data.texts import offsets_of
from audiotag.errors import ManifestError

_DECIMALS = 9
"""Where a clip does not begin with its recording, times are rounded to nanoseconds: 10.3 - 10 is not 0.3 otherwise."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """Where clips lie in their recordings, in seconds; float64 (clips,).

    Attributes:
        start: Where they begin.
        stop: Where they end; infinite where only the recording knows.
    """

    start: NDArray[np.float64]
    stop: NDArray[np.float64]


class EventTexts:
    """The events of rows; all rows are added before anything is asked.

    Attributes:
        labels: Their labels: of each row the sequence that its events have, None where nobody has said when.
    """

    def __init__(self) -> None:
        self.labels = LabelTexts(",")
        self._onsets, self._offsets = array("d"), array("d")

    def add(self, rows: Sequence[Sequence[tuple[float, float, str]] | None]) -> None:
        """The events of further rows."""
        self.labels.add([None if events is None else [label for _, _, label in events] for events in rows])
        for events in rows:
            if events:
                self._onsets.extend([onset for onset, _, _ in events])
                self._offsets.extend([offset for _, offset, _ in events])

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _times(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(self._onsets, dtype=np.float64), np.array(self._offsets, dtype=np.float64)

    def check(self, bounds: Bounds, place: Callable[[int], str]) -> None:
        """Check the times.

        Args:
            bounds: Where the clips lie.
            place: How messages call a row.

        Raises:
            ManifestError: An event does not last, begins before its recording, or lies outside its clip.
        """
        onsets, offsets = self._times
        rows = self.labels.codes.clips
        lasts = np.isfinite(onsets) & np.isfinite(offsets) & (onsets >= 0) & (onsets < offsets)
        if (wrong := np.flatnonzero(~lasts)).size:
            raise ManifestError(
                f"the event {self._event(wrong[0])}",
                where=place(int(rows[wrong[0]])),
                fix="0 ≤ onset < offset must hold, in seconds.",
            )
        if (outside := np.flatnonzero((onsets >= bounds.stop[rows]) | (offsets <= bounds.start[rows]))).size:
            row = int(rows[outside[0]])
            raise ManifestError(
                f"the event {self._event(outside[0])}, and the clip lies from {bounds.start[row]:g} s to "
                f"{bounds.stop[row]:g} s of the recording",
                where=place(row),
                fix="Correct its times (they count from the beginning of the recording, as start and stop do), or "
                "leave it out.",
            )

    def _event(self, number: int) -> str:
        label = self.labels.pieces[self.labels.codes.indices[number]]
        onset, offset = (f"{float(times[number])!r}".removesuffix(".0") for times in self._times)
        return f"{label!r} begins at {onset} s and ends at {offset} s"

    def columns(self, bounds: Bounds, finder: Finder) -> EventColumns:
        """The events, in seconds of the clips and cut to them; those of labels that are no class are left out."""
        codes, indices = self.labels.codes, finder.indices(self.labels)
        known = indices >= 0
        rows = codes.clips[known]
        onsets, offsets = (times[known] for times in self._times)
        start = bounds.start[rows]
        onsets, offsets = np.maximum(onsets, start) - start, np.minimum(offsets, bounds.stop[rows]) - start
        moved = start > 0
        onsets[moved], offsets[moved] = np.round(onsets[moved], _DECIMALS), np.round(offsets[moved], _DECIMALS)
        limits = offsets_of(np.bincount(rows, minlength=len(self)))
        return EventColumns(onsets, offsets, indices[known], limits, self.labels.given).joined()
