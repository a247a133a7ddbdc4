"""Text formats: CSV, JSON, JSON lines, sed_eval TSV, Audacity labels, Raven selection tables, the home system's CSV."""

from __future__ import annotations

import json
import re
from typing import Any

from audiotag.csv_text import csv_text
from audiotag.data.detections import COLUMNS, TIME
from audiotag.inference.writers.base import EndToEnd, Writer, WriterSettings, seconds_text
from audiotag.inference.writers.rows import Place, Result


class CsvWriter(Writer):
    """CSV with a header; one line for each class heard: filename, onset, offset, event_label, mid, score."""

    def __init__(self, settings: WriterSettings) -> None:
        super().__init__(settings)
        self.head = csv_text([(*COLUMNS, TIME) if settings.absolute_times else COLUMNS])

    def text(self, result: Result) -> str:
        """The lines of one clip."""
        rows = (
            (result.path, seconds_text(row.onset), seconds_text(row.offset), row.label, row.mid, f"{row.score:.6g}")
            + ((result.time_of(row),) if self.settings.absolute_times else ())
            for row in result.rows
        )
        return csv_text(rows, verbatim=self.settings.verbatim)


class JsonLinesWriter(Writer):
    """One JSON object a line, with the columns of the CSV."""

    def text(self, result: Result) -> str:
        """The lines of one clip."""
        return "".join(
            _json({COLUMNS[0]: str(result.path), **row}) + "\n" for row in _row_objects(result, self.settings)
        )


class JsonWriter(Writer):
    """One JSON document: what made it, and every clip with what is heard in it, also those with nothing."""

    tail = "\n]}\n"

    def __init__(self, settings: WriterSettings) -> None:
        super().__init__(settings)
        self.head = f'{{"made_by": {_json(settings.made_by)},\n"recordings": ['
        self._before = "\n"

    def text(self, result: Result) -> str:
        """The object of one clip."""
        about = {
            "id": result.clip.id,
            COLUMNS[0]: str(result.path),
            "start": result.clip.start,
            "seconds": result.seconds,
        }
        return self._before + _json({**about, "events": _row_objects(result, self.settings)})

    def follow(self, place: Place) -> None:
        """A comma goes before the next."""
        self._before = ",\n"


class SedEvalWriter(Writer):
    """The event lists of sed_eval and DCASE: filename, onset, offset, event_label between tabs, with a header."""

    head = csv_text([COLUMNS[:4]], delimiter="\t")

    def text(self, result: Result) -> str:
        """The lines of one clip."""
        rows = ((result.path, seconds_text(row.onset), seconds_text(row.offset), row.label) for row in result.rows)
        return csv_text(rows, delimiter="\t", verbatim=True)


class AudacityWriter(Writer):
    """Audacity labels: start, end and label between tabs, without a header.

    Several recordings are laid end to end, as Audacity's Align End to End does.
    """

    def __init__(self, settings: WriterSettings) -> None:
        super().__init__(settings)
        self._sequence = EndToEnd()

    def text(self, result: Result) -> str:
        """The labels of one clip."""
        begin = self._sequence.begin(result.path, result.place.whole)
        return "".join(
            f"{begin + row.onset:.6f}\t{begin + row.offset:.6f}\t{' '.join(row.label.split())}\n" for row in result.rows
        )

    def follow(self, place: Place) -> None:
        """The next recording begins where this one ends."""
        self._sequence.begin(place.key[0], place.whole)


class RavenWriter(Writer):
    """A Raven selection table. Times run on over all recordings; File Offset counts within Begin File."""

    head = (
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
        "Begin File\tBegin Path\tFile Offset (s)\tLabel\tScore\n"
    )

    def __init__(self, settings: WriterSettings) -> None:
        super().__init__(settings)
        self._high = f"{settings.high_frequency:g}"
        self._sequence = EndToEnd()
        self._selections = 0

    def text(self, result: Result) -> str:
        """The selections of one clip."""
        begin = self._sequence.begin(result.path, result.place.whole)
        rows = []
        for number, row in enumerate(result.rows, start=self._selections + 1):
            times = seconds_text(begin + row.onset), seconds_text(begin + row.offset)
            file = result.path.name, result.path.absolute(), seconds_text(row.onset)
            rows.append((number, "Spectrogram 1", 1, *times, 0, self._high, *file, row.label, f"{row.score:.6g}"))
        return csv_text(rows, delimiter="\t", verbatim=True)

    def follow(self, place: Place) -> None:
        """Selections are numbered on, and the next recording begins where this one ends."""
        self._sequence.begin(place.key[0], place.whole)
        self._selections += place.rows


class HomeWriter(Writer):
    """The predictions of the home system: video_id, predicted_label, with display names joined by commas."""

    head = csv_text([("video_id", "predicted_label")])

    def text(self, result: Result) -> str:
        """The line of one clip; one in which nothing is heard has an empty label."""
        return csv_text([(result.clip.id, ",".join(row.label for row in result.rows))], verbatim=True)


def _row_objects(result: Result, settings: WriterSettings) -> list[dict[str, Any]]:
    return [
        dict(zip(COLUMNS[1:], (row.onset, row.offset, row.label, row.mid, row.score), strict=True))
        | ({TIME: result.time_of(row)} if settings.absolute_times else {})
        for row in result.rows
    ]


def _json(value: object) -> str:
    """JSON in which letters stay letters; bytes of a file name that are no UTF-8 are escaped, as JSON must be UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return re.sub("[\ud800-\udfff]", lambda sign: f"\\u{ord(sign[0]):04x}", text)
