"""Tables of sound events, as DCASE challenges, DESED and sed_eval have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from audiotag.data.clips import ClipSet, Dataset
from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import Row, clips_from_rows, exact, read_number, split_labels
from audiotag.data.sets.tiny import write_lines, write_tiny_recordings
from audiotag.errors import ManifestError, OptionError

_STRONG = ("filename", "onset", "offset", "event_label")
_WEAK = ("filename", "event_labels")
_DURATIONS = ("filename", "duration")


class _Span(NamedTuple):
    onset: float
    offset: float
    label: str
    where: str


class EventTable(Dataset):
    """A TSV with ``filename, onset, offset, event_label`` (strong labels) or ``filename, event_labels`` (weak ones).

    The events of a recording become one clip with `Clip.events`. With *events* True each event is a clip of its own
    instead, from onset to offset, with all that is heard in it. A row without onset, offset and label says that nothing
    is heard in the recording; so does a line of the table of durations (``filename, duration``: ``TABLE_durations.tsv``
    or ``durations.tsv`` beside it, or *durations*) whose recording has no events. Weak labels are separated by commas.

    Recordings lie beside the table or in a folder ``audio`` beside it; in DESED's layout (``metadata/x/y.tsv``,
    ``audio/x/y``) they are found too.
    """

    columns = (_STRONG, _WEAK)

    def read(
        self,
        source: Path,
        *,
        root: Path | None = None,
        single_label: bool = False,
        events: bool = False,
        durations: str | Path | None = None,
        **reading: Any,
    ) -> ClipSet:
        """See `audiotag.data.clips.Dataset.read`; for *events* and *durations* see the class."""
        rows = event_rows(source, events=events, durations=None if durations is None else Path(durations))
        root = root or audio_folder(source)
        reading |= {"single_label": single_label, "labels_required": False}
        return clips_from_rows(rows, source=source, root=root, **reading)

    def recognises(self, source: Path) -> bool:
        """Whether the first line names the columns of strong or of weak labels."""
        columns = set(columns_of(source))
        return set(_STRONG) <= columns or (set(_WEAK) <= columns and "onset" not in columns)

    def write_tiny(self, folder: Path, *, seed: int = 0) -> Path:
        """Write a table of the events in a few made-up recordings to a new *folder*, and return its path."""
        lines = ["\t".join(_STRONG)]
        lines += [f"{name}\t0.1\t0.4\t{label}" for name, label in write_tiny_recordings(folder, seed)]
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


def event_rows(
    table: Path, *, events: bool = False, durations: Path | None = None, prefix: str = "", split: str | None = None
) -> list[Row]:
    """The clips of a table.

    Args:
        table: The TSV.
        events: Each event is a clip; needs strong labels.
        durations: The table of durations; None for the one beside *table*, where there is one.
        prefix: Put before each file name.
        split: Kept in `Row.extra` where given.

    Raises:
        ManifestError: The table or a row of it is wrong.
        OptionError: *events* of a table of weak labels.
    """
    extra = () if split is None else (("split", split),)
    if "onset" not in columns_of(table):
        if events:
            raise OptionError("weak labels have no events to cut out", where=table, fix="Read it without events=True.")
        return [
            Row(
                where=f"{table.name}, line {line}",
                path=prefix + cells["filename"],
                labels=split_labels(cells["event_labels"]),
                extra=extra,
            )
            for line, cells in read_table(table, _WEAK)
        ]
    heard: dict[str, list[_Span]] = {}
    for line, cells in read_table(table, _STRONG):
        spans = heard.setdefault(cells["filename"], [])
        spans.extend(_event(cells, f"{table}, line {line}", f"{table.name}, line {line}"))
    seconds = read_durations(table, durations)
    for name in seconds:
        heard.setdefault(name, [])
    make = _event_clips if events else _whole_clip
    return [
        replace(row, path=prefix + name, extra=extra, seconds=seconds.get(name))
        for name, spans in heard.items()
        for row in make(table, name, spans)
    ]


def read_durations(table: Path, durations: Path | None = None) -> dict[str, float]:
    """Recording → its length in seconds, as the table of durations says it: *durations*, or the one beside *table*.

    Raises:
        ManifestError: It is wrong.
    """
    beside = (table.with_name(f"{table.stem}_durations.tsv"), table.with_name("durations.tsv"))
    path = next((path for path in beside if path.is_file()), None) if durations is None else durations
    if path is None:
        return {}
    found = {}
    for line, cells in read_table(path, _DURATIONS):
        place = f"{path}, line {line}"
        found[cells["filename"]] = seconds = read_number(cells["duration"], "duration", place)
        if seconds <= 0:
            raise ManifestError(f"the recording lasts {exact(seconds)} s", where=place, fix="Correct it.")
    return found


def _event(cells: dict[str, str], place: str, where: str) -> Iterator[_Span]:
    if not cells["onset"] and not cells["offset"] and not cells["event_label"]:
        return
    onset, offset = (read_number(cells[column], column, place) for column in ("onset", "offset"))
    if not 0 <= onset < offset:
        raise ManifestError(f"the event begins at {exact(onset)} s and ends at {exact(offset)} s", where=place)
    if not cells["event_label"]:
        raise ManifestError("the event has no label", where=place)
    yield _Span(onset, offset, cells["event_label"], where)


def _whole_clip(table: Path, name: str, spans: list[_Span]) -> Iterator[Row]:
    where = spans[0].where if spans else table.name
    yield Row(where=where, path=name, labels=None, events=[span[:3] for span in spans])


def _event_clips(table: Path, name: str, spans: list[_Span]) -> Iterator[Row]:
    for number, (onset, offset, _, where) in enumerate(spans):
        yield Row(
            where=where,
            path=name,
            labels=None,
            id=f"{name}@{exact(onset)}-{exact(offset)}#{number}",
            start=onset,
            stop=offset,
            events=[span[:3] for span in spans if span.onset < offset and span.offset > onset],
        )
