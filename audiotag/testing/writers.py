"""Checks of output formats."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from audiotag.data.clips import Clip
from audiotag.inference.events import Event
from audiotag.inference.writers.base import FileWriter, Writer, WriterSettings
from audiotag.inference.writers.rows import Result
from audiotag.testing.check import check, require, skip
from audiotag.testing.subjects import Subject

_RESULTS = (
    Result(Clip("a", Path("ordner/Straße, laut.wav")), 12.5, (Event(0.0, 2.5, 'Wagon, "train"', "/m/1", 0.75),)),
    Result(Clip("b", Path("silent.wav")), 3.0, ()),
    Result(
        Clip("c", Path("tab\tand\nline.wav")),
        4.0,
        (Event(0.0, 1.5, "雨", "/m/3", 0.9), Event(1.0, 4.0, "Bébé", "/m/4", 0.25)),
    ),
)


def _text(subject: Subject, results: tuple[Result, ...] = _RESULTS, *, told: int = 0) -> str:
    """What a fresh writer makes of *results* behind the first *told* of all, as a resumed run tells it."""
    writer = subject.make(WriterSettings(made_by={"model": "a"}), interface=Writer)
    for result in _RESULTS[:told]:
        writer.follow(result.place)
    parts = [] if told else [writer.head]
    for result in results:
        parts.append(writer.text(result))
        writer.follow(result.place)
    for part in (*parts, writer.tail):
        require(isinstance(part, str), f"it gives {type(part).__name__}, not text")
    return "".join([*parts, writer.tail])


def _bytes(subject: Subject, results: tuple[Result, ...]) -> bytes:
    file = BytesIO()
    writer = subject.make(WriterSettings(made_by={"model": "a"}), file, interface=FileWriter)
    for result in results:
        writer.write(result)
    writer.close()
    require(not file.closed, "close() closes the file, which the toolkit does")
    return file.getvalue()


@check("writer")
def it_writes_any_names(subject: Subject) -> None:
    """Clips with events and without, with any letters in their names, are written; a file begins with its magic."""
    for results in (_RESULTS, ()):
        if subject.spec.magic:
            content = _bytes(subject, results)
            require(content.startswith(subject.spec.magic), f"the file begins with {content[:8]!r}, not with its magic")
        else:
            _text(subject, results).encode("utf-8")


@check("writer")
def the_same_results_give_the_same_text(subject: Subject) -> None:
    """Two writers write the same of the same results."""
    if subject.spec.magic:
        skip("files of bytes may hold the time at which they were made")
    require(_text(subject) == _text(subject), "it writes something else the second time")


@check("writer")
def a_resumed_output_is_as_an_uninterrupted_one(subject: Subject) -> None:
    """A writer that is told of earlier clips by `follow` goes on as if it had written them."""
    if subject.spec.magic:
        skip("files of bytes are not resumed")
    whole = _text(subject)
    rest = _text(subject, _RESULTS[1:], told=1)
    require(whole.endswith(rest), "what it remembers of earlier clips must come from follow(), not from text()")
