"""A decoding as it is kept: with the model that it was tuned for, or in a file of its own (JSON or TOML).

format = "audiotag-decoding"
format_version = 1
cells = {window, hop, resolution}      seconds; what is left out is the model's own
default = {threshold, low_threshold, median, merge, min_duration}
classes = {mid = {the same}}           what differs from the default
tuned_on, about                        what it was tuned on, for the record
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audiotag.arguments import as_path
from audiotag.data.heard import Heard
from audiotag.documents import Fields, read_json, read_toml
from audiotag.errors import CheckpointError, OptionError
from audiotag.inference.decoding import LONGEST_MEDIAN, SETTINGS, Decoding
from audiotag.inference.tags import DEFAULT_THRESHOLD
from audiotag.labels import LabelSet, composed
from audiotag.printing import few

DECODING = "decoding"
"""Key in a model's metadata, or an ensemble's."""

_FORMAT, _FORMAT_VERSION = "audiotag-decoding", 1
_ENTRIES = ("format", "format_version", "cells", "default", "classes", "tuned_on", "about")
_OF_A_CLASS = ("threshold", *SETTINGS)
_FIX = "Write it with `audiotag evaluate --events --tune-thresholds`, or see docs/sound_events.md."


class Cells(NamedTuple):
    """What events are read off: frames where nothing is said and the model scores them, else windows.

    Attributes:
        window: Seconds of a window; None for the length that the network was trained on.
        hop: Seconds between windows, and the grid of times; None for half a window.
        resolution: The grid of times in place of the hop, or of frames; None for the hop, or single frames.
    """

    window: float | None = None
    hop: float | None = None
    resolution: float | None = None


OWN_CELLS = Cells()
"""Those that the model has."""


class EventReading(NamedTuple):
    """How events are read off a recording.

    Attributes:
        decoding: From cells to events.
        cells: What the cells are.
    """

    decoding: Decoding
    cells: Cells


@dataclass(frozen=True, eq=False)
class TunedDecoding:
    """A decoding, the cells that it is for, and what it was tuned on.

    Attributes:
        decoding: One value for each class.
        cells: What events are read off.
        tuned_on: The recordings that it was tuned on, as the text of an `audiotag.data.heard.Heard`.
        about: For people: the data, the criterion, what was reached.
    """

    decoding: Decoding
    cells: Cells = OWN_CELLS
    tuned_on: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self, labels: LabelSet) -> dict[str, Any]:
        """It as JSON and TOML have it; `decoding_from` takes it back."""
        columns = (self.decoding.thresholds, *(getattr(self.decoding, name) for name in _ATTRIBUTES))
        rows = zip(labels.mids, *(column.tolist() for column in columns), strict=True)
        return {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "cells": {name: value for name, value in self.cells._asdict().items() if value is not None},
            "classes": {mid: dict(zip(_OF_A_CLASS, values, strict=True)) for mid, *values in rows},
            "tuned_on": self.tuned_on,
            "about": dict(self.about),
        }


_ATTRIBUTES = ("low_thresholds", *SETTINGS[1:])
"""Of a `Decoding`, in the order of `SETTINGS`."""


def read_decoding(path: str | Path, labels: LabelSet) -> TunedDecoding:
    """Read a decoding from a file.

    Args:
        path: ``.toml``, or else JSON; see the module. Classes that *labels* lacks are passed over.
        labels: The classes that it is for.

    Raises:
        OptionError: The file cannot be read, something in it cannot be, or none of its classes is among *labels*.
    """
    path = as_path("the decoding", path)
    read = read_toml if path.suffix.lower() == ".toml" else read_json
    fields = Fields(read(path, error=OptionError, fix=_FIX), where=path, error=OptionError, fix=_FIX)
    named = fields.fields("classes", {})
    for name in named:
        if (text := composed(name)) not in labels.mids and text in labels.names:
            mid = labels.mids[labels.names.index(text)]
            raise fields.refuse(f"classes.{name}", f"must be called by its mid, {mid}")
    if named and not {*map(composed, named)} & {*labels.mids}:
        raise OptionError(f"none of its classes is the model's ({few(list(named))})", where=path, fix=_FIX)
    return decoding_from(fields, labels)


def kept_decoding(metadata: Mapping[str, Any], labels: LabelSet, where: object) -> TunedDecoding | None:
    """The decoding in what a model says about itself; None where there is none.

    Raises:
        CheckpointError: It is damaged.
    """
    if DECODING not in metadata:
        return None
    fix = "Tune it again (audiotag evaluate --events --tune-thresholds)."
    return decoding_from(Fields(metadata[DECODING], where=where, error=CheckpointError, fix=fix), labels)


def decoding_from(fields: Fields, labels: LabelSet) -> TunedDecoding:
    """What `TunedDecoding.to_dict` has kept, or somebody wrote, for *labels*: in their order, the default for others.

    Raises:
        AudiotagError: As *fields* raises: an entry is unknown, or no setting that can be.
    """
    fields.require_format(_FORMAT, _FORMAT_VERSION, "a decoding of events")
    _refuse_unknown(fields, _ENTRIES)
    cells = fields.fields("cells", None)
    default = _values(fields.fields("default", None), (DEFAULT_THRESHOLD, None, 0.0, 0.0, 0.0))
    entries = fields.fields("classes", {})
    values = {composed(mid): _values(entries.fields(mid), default) for mid in entries}
    columns = zip(*(values.get(mid, default) for mid in labels.mids), strict=True)
    thresholds, low, *others = (np.array(column, dtype=np.float64) for column in columns)  # None becomes NaN
    return TunedDecoding(
        Decoding.of(
            thresholds,
            low_threshold=np.where(np.isnan(low), thresholds, np.minimum(low, thresholds)),
            **dict(zip(SETTINGS[1:], others, strict=True)),
        ),
        _cells(cells),
        _tuned_on(fields),
        dict(fields.fields("about", {})),
    )


def _tuned_on(fields: Fields) -> str:
    text = fields.text("tuned_on", "")
    try:
        return str(Heard.parse(text))
    except ValueError as error:
        raise fields.refuse("tuned_on", f"is damaged ({error})") from error


def _values(fields: Fields | None, default: tuple[Any, ...]) -> tuple[Any, ...]:
    """A class's settings, in the order of `_OF_A_CLASS`."""
    if fields is None:
        return default
    _refuse_unknown(fields, _OF_A_CLASS)
    most = {"threshold": 1.0, "low_threshold": 1.0, "median": LONGEST_MEDIAN}
    values = dict(zip(_OF_A_CLASS, default, strict=True))
    if "threshold" in fields:
        values["low_threshold"] = None  # that of the default belongs to another threshold
    for name in fields:
        values[name] = fields.number(name, least=0.0)
        if values[name] > most.get(name, np.inf):
            raise fields.refuse(name, f"must be {most[name]:g} at most")
    return tuple(values.values())


def _cells(fields: Fields | None) -> Cells:
    if fields is None:
        return OWN_CELLS
    _refuse_unknown(fields, Cells._fields)
    found = {name: fields.number(name, least=0.0) for name in fields}
    for name, value in found.items():
        if value == 0:
            raise fields.refuse(name, "must be above 0")
    if {"hop", "resolution"} <= {*found}:
        raise fields.refuse("resolution", "and hop both give the grid of times")
    return Cells(**found)


def _refuse_unknown(fields: Fields, known: tuple[str, ...]) -> None:
    for name in fields:
        if name not in known:
            raise fields.refuse(name, f"is none of {', '.join(known)}")
