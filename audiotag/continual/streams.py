"""Made-up and recorded streams of labels, to try policies on before any sound is involved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.data.formats.table import NO_CLASS, SEPARATORS
from audiotag.data.formats.tables import columns_of, read_table
from audiotag.data.rows import Row, clips_from_rows
from audiotag.errors import ManifestError, OptionError
from audiotag.labels import LabelSet, composed

LOG_COLUMNS = ("labels", "label", "predicted_label", "event_label", "category")
"""Columns that a log of labels may have, the first found is taken."""


@dataclass(frozen=True)
class Stream:
    """Labels in the order in which a device would hear them.

    Attributes:
        names: The classes.
        labels: For each step, the indices of the clip's classes, ascending.
        stored_before: Clips in the store before the first step; offered without being observed.
        observed_before: int64 (classes,), counts observed before the first step, None for none.
    """

    names: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    stored_before: tuple[tuple[int, ...], ...] = ()
    observed_before: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)


def stream_from_counts(counts: Mapping[str, int], generator: np.random.Generator) -> Stream:
    """Exactly so many single-label clips of each class, in random order.

    Raises:
        OptionError: There is no class, or a count is negative.
    """
    if not counts or min(counts.values()) < 0:
        raise OptionError("a stream needs classes with counts of 0 or more", where="stream from counts")
    order = generator.permutation(np.repeat(np.arange(len(counts)), list(counts.values())))
    return Stream(tuple(counts), tuple((int(label),) for label in order))


def read_counts(path: str | Path) -> dict[str, int]:
    """How many clips there are of each class, from a CSV with the columns ``label`` and ``count``.

    Raises:
        ManifestError: The file cannot be read, lacks a column, names a class twice, or a count is no whole number.
    """
    counts: dict[str, int] = {}
    for line, cells in read_table(Path(path), ("label", "count")):
        label, count = composed(cells["label"]), cells["count"]
        problem = None
        if not label or label in counts:
            problem = f"the class {label!r} occurs twice" if label else "the class has no name"
        elif not re.fullmatch(r"\d{1,9}", count, re.ASCII):
            problem = f"the count is {count!r}, not a whole number"
        if problem is not None:
            raise ManifestError(problem, where=f"{path}, line {line}", fix="Give each class one line: dog,100")
        counts[label] = int(count)
    return counts


def stream_from_log(path: str | Path, labels: LabelSet | None = None) -> Stream:
    """The labels of a CSV, row by row: what a device really heard.

    Args:
        path: A CSV with one of the columns of `LOG_COLUMNS`, whose cells are read as `audiotag finetune` reads those of
            a list (`audiotag.data.formats.table.CsvTable`). Rows without a label are left out.
        labels: The classes; None takes those of the log, sorted.

    Raises:
        ManifestError: The file cannot be read, has no such column, names no label, or one that is not among *labels*.
    """
    path = Path(path)
    columns = columns_of(path)
    column = next((name for name in LOG_COLUMNS if name in columns), None)
    if columns and column is None:
        raise ManifestError(
            f"there is no column of labels; there are: {', '.join(columns)}",
            where=path,
            fix=f"Name a column {' or '.join(LOG_COLUMNS)}.",
        )
    without = {"", NO_CLASS} - ({*labels.names, *labels.mids} if labels is not None else set())
    rows = [
        Row(where=f"line {line}", path=f"line {line}", labels=text)
        for line, cells in read_table(path, [column or LOG_COLUMNS[0]])
        if (text := cells[column or LOG_COLUMNS[0]]) not in without
    ]
    if not rows:
        raise ManifestError("no row has a label", where=path)
    clips = clips_from_rows(rows, source=path, labels=labels, separators=SEPARATORS)
    return Stream(clips.labels.names, tuple(clip.labels for clip in clips))


def zipf_shares(classes: int, exponent: float) -> NDArray[np.float64]:
    """Shares proportional to 1 / rank**exponent, float64 (classes,), adding up to 1; exponent 0 makes all equal."""
    if classes < 1 or not abs(exponent) <= 50:  # beyond, the powers leave what a float holds
        raise OptionError(f"{classes} classes with the exponent {exponent} make no stream", where="zipf")
    weights = 1.0 / np.arange(1, classes + 1, dtype=np.float64) ** exponent
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def zipf_stream(
    classes: int, steps: int, generator: np.random.Generator, *, exponent: float = 1.0, most_labels: int = 1
) -> Stream:
    """Independent clips, the class of rank r with a probability proportional to 1 / r**exponent.

    Args:
        classes: Number of classes.
        steps: Number of clips.
        generator: The only source of randomness.
        exponent: 0 makes all classes equally frequent.
        most_labels: Each clip has 1 … most_labels different classes, each number equally likely.
    """
    shares = zipf_shares(classes, exponent)
    return _stream(np.broadcast_to(shares, (steps, classes)), generator, most_labels)


def drifting_stream(
    classes: int, steps: int, generator: np.random.Generator, *, exponent: float = 1.0, most_labels: int = 1
) -> Stream:
    """Zipf frequencies that move evenly from one random ranking of the classes at the start to its reverse."""
    shares = zipf_shares(classes, exponent)
    first = generator.permutation(shares)
    ranks = np.argsort(np.argsort(first))
    last = np.sort(first)[::-1][ranks]
    progress = np.linspace(0.0, 1.0, steps)[:, None]
    return _stream((1 - progress) * first + progress * last, generator, most_labels)


def burst_stream(
    classes: int,
    steps: int,
    generator: np.random.Generator,
    *,
    exponent: float = 1.0,
    most_labels: int = 1,
    mean_length: float = 20.0,
) -> Stream:
    """Bursts: a class drawn by Zipf sounds again and again, for a geometric number of clips of the mean *mean_length*.

    With several labels a clip, the others come from the Zipf frequencies.
    """
    if not 1 <= mean_length <= 1e9:
        raise OptionError(f"bursts of {mean_length} clips", where="burst stream", fix="Give 1 or more, at most 1e9.")
    if not 1 <= most_labels <= classes:
        raise OptionError(f"up to {most_labels} labels of {classes} classes make no stream", where="burst stream")
    shares = zipf_shares(classes, exponent)
    main = np.empty(steps, dtype=np.int64)
    position = 0
    while position < steps:
        length = int(generator.geometric(1.0 / mean_length))
        main[position : position + length] = generator.choice(classes, p=shares)
        position += length
    rows = []
    for label in main.tolist():
        more = int(generator.integers(1, most_labels + 1)) - 1
        others = generator.choice(classes, size=more, p=shares).tolist() if more else []
        rows.append(tuple(sorted({label, *others})))
    return Stream(_names(classes), tuple(rows))


def published_stream(steps: int, generator: np.random.Generator, *, classes: int = 5, places: int = 50) -> Stream:
    """The published example of the home system's rule.

    Counts observed before are drawn from 50 … 199 for each class; the store starts full; each clip, stored before or
    coming in, has one or two classes, all equally likely.
    """
    observed = generator.integers(50, 200, size=classes)
    equal = np.full((places + steps, classes), 1.0 / classes)
    rows = _stream(equal, generator, 2).labels
    return Stream(_names(classes), rows[places:], rows[:places], observed)


def _names(classes: int) -> tuple[str, ...]:
    return tuple(f"class {label}" for label in range(classes))


def _stream(shares: NDArray[np.float64], generator: np.random.Generator, most_labels: int) -> Stream:
    """Clips whose classes are drawn without repeats by the shares of their step, (steps, classes)."""
    steps, classes = shares.shape
    if steps < 1 or not 1 <= most_labels <= classes:
        raise OptionError(f"{steps} clips with up to {most_labels} of {classes} classes make no stream", where="stream")
    numbers = generator.integers(1, most_labels + 1, size=(steps,))
    # The largest of log(share) + Gumbel noise are a draw without repeats, for all steps at once.
    keys = np.log(shares) + generator.gumbel(size=(steps, classes))
    order = np.argsort(-keys, axis=1)[:, :most_labels]
    rows = [tuple(sorted(order[step, :number].tolist())) for step, number in enumerate(numbers.tolist())]
    return Stream(_names(classes), tuple(rows))
