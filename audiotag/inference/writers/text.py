"""Text formats: CSV, JSON lines, sed_eval TSV, Audacity labels, Raven selection tables, the home system's CSV."""

from __future__ import annotations

import csv
import json
from typing import TextIO

from audiotag.inference.writers.base import Writer, seconds_text
from audiotag.inference.writers.rows import COLUMNS, Result

RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Begin File",
    "Begin Path",
    "File Offset (s)",
    "Label",
    "Score",
)


class CsvWriter(Writer):
    """CSV with a header; one line for each class heard: filename, onset, offset, event_label, mid, score."""

    def __init__(self, file: TextIO) -> None:
        self._csv = csv.writer(file, lineterminator="\n")
        self._csv.writerow(COLUMNS)

    def write(self, result: Result) -> None:
        """Add one recording."""
        for row in result.rows:
            times = seconds_text(row.onset), seconds_text(row.offset)
            self._csv.writerow((result.path, *times, row.label, row.mid, f"{row.score:.6g}"))


class JsonLinesWriter(Writer):
    """One JSON object a line, with the columns of the CSV."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, result: Result) -> None:
        """Add one recording."""
        for row in result.rows:
            values = (str(result.path), row.onset, row.offset, row.label, row.mid, row.score)
            self._file.write(json.dumps(dict(zip(COLUMNS, values, strict=True)), ensure_ascii=False) + "\n")


class SedEvalWriter(Writer):
    """The event lists of sed_eval and DCASE: filename, onset, offset, event_label between tabs, with a header."""

    def __init__(self, file: TextIO) -> None:
        self._csv = csv.writer(file, delimiter="\t", lineterminator="\n")
        self._csv.writerow(COLUMNS[:4])

    def write(self, result: Result) -> None:
        """Add one recording."""
        for row in result.rows:
            self._csv.writerow((result.path, seconds_text(row.onset), seconds_text(row.offset), row.label))


class AudacityWriter(Writer):
    """Audacity labels: start, end and label between tabs, without a header.

    Several recordings are laid end to end, as Audacity's Align End to End does.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._begin = 0.0

    def write(self, result: Result) -> None:
        """Add one recording."""
        for row in result.rows:
            onset, offset = self._begin + row.onset, self._begin + row.offset
            label = " ".join(row.label.split())
            self._file.write(f"{onset:.6f}\t{offset:.6f}\t{label}\n")
        self._begin += result.seconds


class RavenWriter(Writer):
    """A Raven selection table. Times run on over all recordings; File Offset counts within Begin File.

    Args:
        file: Where to write.
        high_frequency: Upper edge of the selections, in Hz.
    """

    def __init__(self, file: TextIO, high_frequency: float) -> None:
        self._csv = csv.writer(file, delimiter="\t", lineterminator="\n")
        self._csv.writerow(RAVEN_COLUMNS)
        self._high = f"{high_frequency:g}"
        self._begin = 0.0
        self._selection = 0

    def write(self, result: Result) -> None:
        """Add one recording."""
        for row in result.rows:
            self._selection += 1
            times = seconds_text(self._begin + row.onset), seconds_text(self._begin + row.offset)
            file = result.path.name, result.path.absolute(), seconds_text(row.onset)
            view = self._selection, "Spectrogram 1", 1
            self._csv.writerow((*view, *times, 0, self._high, *file, row.label, f"{row.score:.6g}"))
        self._begin += result.seconds


class HomeWriter(Writer):
    """The predictions of the home system: video_id, predicted_label, with display names joined by commas."""

    def __init__(self, file: TextIO) -> None:
        self._csv = csv.writer(file, lineterminator="\n")
        self._csv.writerow(("video_id", "predicted_label"))

    def write(self, result: Result) -> None:
        """Add one recording; one in which nothing is heard has an empty label."""
        self._csv.writerow((result.id, ",".join(row.label for row in result.rows)))
