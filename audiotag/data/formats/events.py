"""Tables of sound events, as DCASE challenges, DESED, sed_eval and ``audiotag infer`` have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from audiotag.csv_text import read_cell
from audiotag.data.checking import is_recording_name
from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import Row, clips_from_rows, exact, read_number, split_labels
from audiotag.data.sets.tiny import SECONDS, write_lines, write_tiny_recordings
from audiotag.errors import ManifestError, OptionError
from audiotag.labels import Label, LabelSet

_STRONG = ("filename", "onset", "offset", "event_label")
_WEAK = ("filename", "event_labels")
_DURATIONS = ("filename", "duration")
_ALIASES = {"file": "filename", "event_onset": "onset", "event_offset": "offset", "label": "event_label"}
"""Columns as sed_eval may name them → as everybody else does."""
_SCENE = ("filename", "scene_label")
_BARE = ((_STRONG, 1), ((*_SCENE, *_STRONG[1:]), 2))
"""The columns of lists that do not name them, and which of them is the first of two numbers."""


class EventTable(Dataset):
    """A table with ``filename, onset, offset, event_label`` (strong labels) or ``filename, event_labels`` (weak ones).

    The lists of sed_eval are read too: with ``event_onset``, ``event_offset`` and ``scene_label``, and without a line
    that names the columns (file, onset, offset, label; or file, scene, onset, offset, label; or file and scene, whose
    scene is the label); and the CSV of ``audiotag infer``, whose ``mid`` names the class
    (and its name where the class list lacks the mid).

    The events of a recording become one clip with `Clip.events`. With *events* True each event is a clip of its own
    instead, from onset to offset, with all that is heard in it. A row without onset, offset and label says that nothing
    is heard in the recording; so does a line of the table of durations (``filename, duration``: *durations*, or
    ``TABLE_durations.tsv`` beside it, or ``durations.tsv`` where no other ``.tsv`` lies there) whose recording has no
    events. Weak labels are separated by commas.

    Recordings lie beside the table or in a folder ``audio`` beside it; in DESED's layout (``metadata/x/y.tsv``,
    ``audio/x/y``) they are found too.
    """

    columns = (_STRONG, _WEAK)

    def read(
        self,
        source: Path,
        *,
        root: Path | None = None,
        labels: LabelSet | None = None,
        single_label: bool = False,
        events: bool = False,
        durations: str | Path | None = None,
        **reading: Any,
    ) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`; for *events* and *durations* see the class."""
        rows = event_rows(source, events=events, durations=None if durations is None else Path(durations))
        own = _own_labels(source)
        if labels is not None and own is not None:
            rows = _called_as_in(labels, own, rows)
        reading |= {"labels": labels, "single_label": single_label, "labels_required": False, "own_labels": own}
        return clips_from_rows(rows, source=source, root=root or audio_folder(source), **reading)

    def recognises(self, source: Path) -> bool:
        """Whether the first line names the columns of strong or of weak labels, or is one of sed_eval's."""
        return event_columns(source) is not None

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write a table of the events in a few made-up recordings to a new *folder*, and return its path."""
        clips = write_tiny_recordings(folder, seed)
        lines = ["\t".join(_STRONG), *(f"{name}\t0.1\t0.4\t{label}" for name, label in clips[:-1])]
        write_lines(folder / "durations.tsv", ["\t".join(_DURATIONS), *(f"{name}\t{SECONDS}" for name, _ in clips)])
        return write_lines(folder / "events.tsv", lines)


def audio_folder(table: Path) -> Path:
    """The folder of the recordings that *table* lists."""
    parts = table.resolve().parts
    for place in range(len(parts) - 2, 0, -1):
        if parts[place] == "metadata":
            folder = Path(*parts[:place], "audio", *parts[place + 1 : -1], table.stem)
            if folder.is_dir():
                return folder
    beside = table.parent / "audio"
    return beside if beside.is_dir() else table.parent


class Span(NamedTuple):
    """A line of a list of events.

    Attributes:
        onset: Seconds from the beginning of the recording.
        offset: Likewise.
        label: Mid or name.
        where: How messages call the line.
        score: Text of a number from 0 to 1; empty where there is none.
    """

    onset: float
    offset: float
    label: str
    where: str
    score: str = ""

    @classmethod
    def read(cls, cells: Sequence[str], table: Path, line: int, score: str = "") -> Span:
        """From the *cells* of onset, offset and label, and that of the score.

        Raises:
            ManifestError: They are none.
        """
        place = f"{table}, line {line}"
        onset, offset = (read_number(cell, name, place) for cell, name in zip(cells, ("onset", "offset"), strict=False))
        if not 0 <= onset < offset:
            raise ManifestError(
                f"the event begins at {exact(onset)} s and ends at {exact(offset)} s",
                where=place,
                fix="0 ≤ onset < offset must hold.",
            )
        if not cells[2]:
            raise ManifestError("the event has no label", where=place, fix="Name the class, or remove the line.")
        return cls(onset, offset, cells[2], f"{table.name}, line {line}", score)


def whole_clip(path: str, spans: Sequence[Span], where: str) -> Row:
    """The clip of a recording and its events; *where* is how messages call it where there are none."""
    events = [(span.onset, span.offset, span.label) for span in spans]
    return Row(where=spans[0].where if spans else where, path=path, labels=None, events=events)


def event_rows(
    table: Path, *, events: bool = False, durations: Path | None = None, prefix: str = "", split: str | None = None
) -> list[Row]:
    """The clips of a table.

    Args:
        table: The table.
        events: Each event is a clip; needs strong labels.
        durations: The table of durations; None for the one beside *table*, where there is one.
        prefix: Put before each file name.
        split: Kept in `Row.extra` where given.

    Raises:
        ManifestError: The tables or a row of them are wrong.
        OptionError: *events* of a table of weak labels.
    """
    extra = () if split is None else (("split", split),)
    found = event_columns(table) or EventTableColumns(())
    if found.weak is not None:
        if events:
            raise OptionError("weak labels have no events to cut out", where=table, fix="Read it without events=True.")
        return [
            Row(
                where=f"{table.name}, line {line}",
                path=prefix + cells["filename"],
                labels=split_labels(cells[found.weak]),
                extra=extra,
            )
            for line, cells in read_table(table, _WEAK[:1], header=found.header)
        ]
    heard: dict[str, list[Span]] = {}
    for line, cells in read_table(table, found.required, header=found.header):
        name, *event = found.cells_of(cells)
        spans = heard.setdefault(name, [])
        if any(event):
            spans.append(Span.read(event, table, line))
    seconds = read_durations(table, durations)
    for name in seconds:
        heard.setdefault(name, [])
    rows = []
    for name, spans in heard.items():
        for row in _event_clips(name, spans) if events else [whole_clip(name, spans, f"{table.name}, no events")]:
            rows.append(replace(row, path=prefix + name, extra=extra, seconds=seconds.get(name)))
    return rows


def read_durations(table: Path, durations: Path | None = None) -> dict[str, float]:
    """Recording → its length in seconds, as the table of durations says it: *durations*, or the one beside *table*.

    Raises:
        ManifestError: It is wrong.
    """
    path = _durations_beside(table) if durations is None else durations
    if path is None:
        return {}
    found = {}
    for line, cells in read_table(path, _DURATIONS):
        place = f"{path}, line {line}"
        found[cells["filename"]] = seconds = read_number(cells["duration"], "duration", place)
        if seconds <= 0:
            raise ManifestError(f"the recording lasts {exact(seconds)} s", where=place, fix="Correct the line.")
    return found


def _durations_beside(table: Path) -> Path | None:
    own, common = table.with_name(f"{table.stem}_durations.tsv"), table.with_name("durations.tsv")
    if own.is_file():
        return own
    # Where there are several tables (train, test), its files without events may be another's.
    alone = not {*table.parent.glob("*.tsv")} - {table, common}
    return common if alone and common.is_file() else None


def _event_clips(name: str, spans: list[Span]) -> Iterator[Row]:
    for number, (onset, offset, _, where, _) in enumerate(spans):
        within = [span for span in spans if span.onset < offset and span.offset > onset]
        identity = f"{name}@{exact(onset)}-{exact(offset)}#{number}"
        yield replace(whole_clip(name, within, where), where=where, id=identity, start=onset, stop=offset)


@dataclass(frozen=True)
class EventTableColumns:
    """Which columns of a table say what.

    Attributes:
        header: Names of the columns where the first line does not name them.
        names: What is said → its column, where that is called otherwise.
        weak: The column of weak labels; None in a table of events.
        written: Whether ``audiotag infer`` has written it: classes by mid, and names that no spreadsheet computes.
    """

    header: tuple[str, ...]
    names: tuple[tuple[str, str], ...] = ()
    weak: str | None = None
    written: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """The columns of file, onset, offset and label."""
        called = dict(self.names)
        return tuple(called.get(name, name) for name in _STRONG)

    def cells_of(self, cells: dict[str, str]) -> tuple[str, str, str, str]:
        """File, onset, offset and class of a row."""
        name, onset, offset, label = (cells[column] for column in self.required)
        return name, onset, offset, read_cell(cells["mid"]) if self.written else label


def event_columns(table: Path) -> EventTableColumns | None:
    """What the columns of *table* are; None where it is no such table."""
    found = columns_of(table)
    named = tuple((_ALIASES[name], name) for name in found if name in _ALIASES and _ALIASES[name] not in found)
    known = {*found, *(name for name, _ in named)}
    if set(_STRONG) <= known:
        return EventTableColumns((), named, written={"mid", "score"} <= known)
    if set(_WEAK) <= known and "onset" not in known:
        return EventTableColumns((), named, weak="event_labels")
    for columns, first in _BARE:
        if len(found) >= len(columns) and is_number(found[first]) and is_number(found[first + 1]):
            return EventTableColumns((*columns, *(f"column {place}" for place in range(len(columns), len(found)))))
    if len(found) == 2 and is_recording_name(found[0]):
        return EventTableColumns(_SCENE, weak=_SCENE[1])
    return None


def is_number(text: str) -> bool:
    """Whether a cell holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _called_as_in(labels: LabelSet, own: LabelSet, rows: list[Row]) -> list[Row]:
    """*rows* with those of their *own* classes by name whose mid *labels* lacks: there the name may be the mid."""
    mids, called = {*labels.mids}, Counter(labels.names)
    names = {one.mid: one.name for one in own if one.mid not in mids and called[one.name] == 1}
    return [
        replace(row, events=[(onset, offset, names.get(mid, mid)) for onset, offset, mid in row.events or ()])
        for row in rows
    ]


def _own_labels(table: Path) -> LabelSet | None:
    """The classes that a table written by ``audiotag infer`` names, sorted by mid; None for other tables."""
    found = event_columns(table)
    if found is None or not found.written:
        return None
    names = {read_cell(cells["mid"]): read_cell(cells[found.required[3]]) for _, cells in read_table(table, ("mid",))}
    names.pop("", None)
    return LabelSet([Label(mid, names[mid]) for mid in sorted(names)], str(table)) if names else None
