"""From scores of windows to events with onset and offset.

The recording is divided into cells of one hop. The score of a class in a cell is the average over the windows that
cover the cell, each weighted by how much of the cell it covers. With windows of 10 s every 2.5 s, a short sound lies in
four windows; the cell it is in is covered by all four, the cells around it by fewer, so that the average falls off to
both sides, where the union of the windows would report 17.5 s. `audiotag.inference.decoding` makes events of cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from audiotag.audio.arrays import Waveform
from audiotag.data.clips import Clip
from audiotag.data.detections import COLUMNS
from audiotag.display import brief, html_table
from audiotag.errors import OptionError, needed_for
from audiotag.inference.decoding import TOLERANCE, Decoding, Span
from audiotag.inference.pictures import Bar, Under, draw_events
from audiotag.inference.stages import through
from audiotag.inference.tags import WindowScores
from audiotag.labels import LabelSet
from audiotag.printing import printable_name

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Event:
    """One class in one part of a recording.

    Attributes:
        onset: Seconds from the beginning of the recording at which the part begins.
        offset: Seconds at which it ends.
        label: Display name.
        mid: Identity of the class.
        score: Probability, the highest within the part.
    """

    onset: float
    offset: float
    label: str
    mid: str
    score: float


def named_events(spans: Iterable[Span], labels: LabelSet) -> list[Event]:
    """*spans* with the names of their classes."""
    return [
        Event(span.onset, span.offset, labels[span.index].name, labels[span.index].mid, span.score) for span in spans
    ]


class Events(Sequence[Event]):
    """Which sounds occur when in a recording: a list of `Event`s by onset, and a table of them.

    ``events[0]`` is an `Event`, ``events.onset`` an array, ``events[:5]`` or ``events[events.score > 0.8]`` fewer
    events. A notebook shows them as a table. Whatever else a DataFrame can do (``events["onset"]``, ``events.iloc``,
    ``events.groupby(…)``, ``events.to_csv(…)``) is done by that of `to_frame`, and needs pandas.

    Attributes:
        filename: The recording; ``waveform`` for sound in memory.
    """

    def __init__(self, events: Iterable[Event], filename: str, source: Clip | Waveform | None = None) -> None:
        self._events = tuple(events)
        self.filename = filename
        self._source = source

    @property
    def onset(self) -> NDArray[np.float64]:
        """Seconds at which each begins, float64 (events,)."""
        return np.array([event.onset for event in self], dtype=np.float64)

    @property
    def offset(self) -> NDArray[np.float64]:
        """Seconds at which each ends, never beyond the recording, float64 (events,)."""
        return np.array([event.offset for event in self], dtype=np.float64)

    @property
    def event_label(self) -> NDArray[np.object_]:
        """Display name of each one's class, objects (events,)."""
        return np.array([event.label for event in self], dtype=object)

    @property
    def mid(self) -> NDArray[np.object_]:
        """Identity of each one's class, objects (events,)."""
        return np.array([event.mid for event in self], dtype=object)

    @property
    def score(self) -> NDArray[np.float64]:
        """The highest score within each, float64 (events,)."""
        return np.array([event.score for event in self], dtype=np.float64)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of `to_frame`."""
        return COLUMNS

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in COLUMNS[1:]}

    def __len__(self) -> int:
        return len(self._events)

    @overload
    def __getitem__(self, wanted: int) -> Event: ...

    @overload
    def __getitem__(self, wanted: str) -> pandas.Series[Any]: ...

    @overload
    def __getitem__(self, wanted: list[str]) -> pandas.DataFrame: ...

    @overload
    def __getitem__(self, wanted: slice | NDArray[Any] | list[int]) -> Events: ...

    def __getitem__(self, wanted: Any) -> Any:
        if isinstance(wanted, str) or (isinstance(wanted, list) and any(isinstance(one, str) for one in wanted)):
            return self.to_frame()[wanted]
        if isinstance(wanted, int | np.integer):
            return self._events[wanted]
        chosen = np.arange(len(self))[wanted]
        return Events([self._events[place] for place in chosen.tolist()], self.filename, self._source)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # protocols of Python and of notebooks are those of a list
            raise AttributeError(name)
        return getattr(self.to_frame(), name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Events):
            return NotImplemented
        return self.filename == other.filename and self._events == other._events

    __hash__ = None  # type: ignore[assignment] # as of any list

    def __repr__(self) -> str:
        return f"Events({brief(self.filename)}, {len(self)} event{'s' * (len(self) != 1)})"

    def __str__(self) -> str:
        """A line for each event."""
        width = max((len(f"{event.offset:.2f}") for event in self), default=0)
        return "\n".join(
            f"{event.onset:{width}.2f} – {event.offset:{width}.2f} s  {event.score:.3f}  {printable_name(event.label)}"
            for event in self
        )

    def _repr_html_(self) -> str:
        return html_table(self._arrays(), f"{self.filename}: {len(self)} event{'s' * (len(self) != 1)}")

    def plot(self, ax: Axes | None = None, *, under: Under | None = "spectrogram") -> Axes:
        """Draw them as a timeline with matplotlib: a line a class, and above it the sound, which is read again.

        Args:
            ax: What to draw on; None for a new figure of pyplot's, which a notebook shows.
            under: What is drawn of the sound: ``"spectrogram"``, ``"waveform"``, or None for nothing.

        Returns:
            The axes.

        Raises:
            MissingExtraError: matplotlib is not installed.
            AudioError: The recording cannot be read any more.
            OptionError: *under* is something else.
        """
        bars = [Bar(event.label, event.onset, event.offset, event.score) for event in self]
        return draw_events(bars, self.filename, self._source, under, ax)

    def to_frame(self) -> pandas.DataFrame:
        """A DataFrame with the columns ``filename``, ``onset``, ``offset``, ``event_label``, ``mid`` and ``score``."""
        with needed_for("a DataFrame"):
            import pandas
        columns = {name: pandas.Series(column) for name, column in self._arrays().items()}
        columns |= {name: columns[name].astype("str") for name in ("event_label", "mid")}
        filenames = pandas.Series([self.filename] * len(self), dtype="str")
        return pandas.DataFrame({"filename": filenames, **columns})


class CellAverages:
    """From the scores of windows to those of consecutive cells, the last one cut at the end of the last window.

    Windows are ordered by onset, without a gap between them, the first from 0 s.

    Args:
        hop: Seconds of a cell.

    Raises:
        OptionError: *hop* is not above 0.
    """

    def __init__(self, hop: float) -> None:
        if not 0 < hop < math.inf:
            raise OptionError(f"the hop is {hop} s", fix="Give more than 0.")
        self._hop = hop
        self._held: list[WindowScores] = []
        self._cell = 0

    def push(self, window: WindowScores) -> list[WindowScores]:
        """The cells that end before *window* begins: later windows begin later still, so that nothing is added."""
        cells = []
        while self._held and (self._cell + 1) * self._hop <= window.onset + TOLERANCE:
            cells.append(self._next((self._cell + 1) * self._hop))
            self._held = [other for other in self._held if other.offset > self._cell * self._hop + TOLERANCE]
        self._held.append(window)
        return cells

    def finish(self) -> list[WindowScores]:
        """The other cells."""
        if not self._held:
            return []
        end = max(window.offset for window in self._held)
        cells = []
        while self._cell * self._hop < end - TOLERANCE or self._cell == 0:
            cells.append(self._next(min((self._cell + 1) * self._hop, end)))
        return cells

    def _next(self, offset: float) -> WindowScores:
        cell = _average(self._held, self._cell * self._hop, offset)
        self._cell += 1
        return cell


def average_cells(windows: Iterable[WindowScores], hop: float) -> Iterator[WindowScores]:
    """All that `CellAverages` makes of *windows*.

    Raises:
        OptionError: *hop* is not above 0.
    """
    return through(CellAverages(hop), windows)


def _average(windows: list[WindowScores], onset: float, offset: float) -> WindowScores:
    covered = np.array([min(window.offset, offset) - max(window.onset, onset) for window in windows])
    weights = np.maximum(covered, 0.0)
    if not weights.any():  # a recording of a few samples is shorter than rounding
        weights[:] = 1.0
    scores = np.average([window.scores for window in windows], axis=0, weights=weights)
    return WindowScores(onset, offset, scores.astype(np.float32))


def detect_events(windows: Iterable[WindowScores], decoding: Decoding, *, hop: float | None) -> list[Span]:
    """Events from the scores of windows, ordered by onset, then class.

    Args:
        windows: As `average_cells` takes them.
        decoding: What is done with the scores of cells.
        hop: Seconds of a cell; None for windows that are cells already (frames).

    Raises:
        OptionError: *hop* is not above 0.
    """
    cells = windows if hop is None else average_cells(windows, hop)
    return sorted(decoding.spans(cells), key=lambda event: (event.onset, event.index))
