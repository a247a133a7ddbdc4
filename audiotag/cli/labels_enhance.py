"""``audiotag labels enhance`` and ``labels check``: labels that annotators left out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiotag.cli.clip_source import clip_source
from audiotag.cli.command import Command
from audiotag.cli.options import (
    OutputFile,
    device_option,
    echo_json,
    json_option,
    model_option,
    option,
    option_option,
    overwrite_option,
    weights_option,
    workers_option,
)
from audiotag.cli.outputs import check_files, files_of
from audiotag.cli.printing import print_columns, progress_bar
from audiotag.csv_text import csv_text
from audiotag.errors import OptionError

if TYPE_CHECKING:
    from audiotag.data.clips import ClipSet
    from audiotag.data.scores import Scores
    from audiotag.data.source import ClipSource
    from audiotag.ontology import Ontology

_MAX_ROWS = 20
_MAX_NAMED = 8
_COLUMNS = ("type", "parent_mid", "parent", "child_mid", "child", "threshold", "lacking", "added")
_COUNTED = ("lacking", "added", "parent", "child")

_data_option = clip_source("--data", "labels", "format", "root", required=True)
_ontology_option = option(
    "--ontology",
    type=Path,
    metavar="FILE",
    help="An ontology of your own, as JSON in the shape of AudioSet's.  [default: AudioSet's]",
)


@click.command(cls=Command)
@_data_option
@option(
    "--scores",
    "scores_file",
    type=Path,
    metavar="FILE",
    help="Scores of the clips: .npz (scores, ids, mids), or .npy with a .json of rows beside it and --labels for its"
    " columns.",
)
@option("--logits", is_flag=True, help="--scores holds logits, not probabilities.")
@model_option()
@weights_option
@option_option
@device_option
@option("--batch-size", least=1, metavar="N", help="Clips at a time.  [default: by the device]")
@workers_option
@option("--save-scores", type=OutputFile(".npz"), metavar="FILE.npz", help="Keep the scores of --model.")
@option(
    "--threshold",
    type=["mean", "median", "25", "10", "5"],
    default="mean",
    help="A class is added above this statistic (mean, median, percentile) of the scores of the clips that carry it.",
)
@option(
    "--type",
    "types",
    type=["1", "2", "both"],
    default="both",
    help="Add children of a clip's classes (1), classes above them (2), or both.",
)
@_ontology_option
@option(
    "--output", required=True, type=OutputFile(".json"), metavar="FILE.json", help="The manifest with the labels added."
)
@option("--report", type=OutputFile(".csv"), metavar="FILE.csv", help="What was added, by parent and child.")
@overwrite_option
@json_option
def enhance(data: ClipSource, types: str, threshold: str, output: Path, as_json: bool, **settings: Any) -> None:
    """Add labels that clips lack by the ontology and have by a model's scores.

    \b
    audiotag labels enhance --data train.json --model mn10_as --save-scores scores.npz --output enhanced.json
    audiotag labels enhance --data train.json --scores scores.npz --threshold 10 --output enhanced.json

    Type 1 adds a child of a class that the clip carries, type 2 a class above one that it carries (PSLA). Nothing is
    taken away. Clips without scores, and classes that no clip carries, are reported and left alone.
    """  # noqa: D301 # click takes the control character, not the two signs
    from audiotag.annotation.enhancement import enhance_labels, relations
    from audiotag.data.formats.manifest import write_manifest
    from audiotag.files import write_atomically
    from audiotag.ontology import read_ontology

    _check_sources(settings)
    clips = data.read(check_files=False)
    outputs = (output, settings["report"], settings["save_scores"])
    beside = [] if settings["scores_file"] is None else [settings["scores_file"].with_suffix(".json")]  # of an .npy
    check_files(*outputs, overwrite=settings["overwrite"], inputs=files_of(clips, clips.labels.source, *beside))
    ontology: Ontology = read_ontology(settings["ontology"])
    relations(clips.labels, ontology)  # an ontology that does not fit is known before hours of scoring
    scores, failures = _scores(clips, data, settings)
    done = enhance_labels(clips, scores, threshold=threshold, types=types, ontology=ontology)  # type: ignore[arg-type]
    write_manifest(done.clips, output)
    if settings["report"] is not None:
        write_atomically(settings["report"], _csv(done.report(), _COLUMNS))
    learned = scores.learned_from.among(clips)
    facts = {**done.to_dict(), "learned_clips": len(learned)}
    if as_json:
        echo_json(facts)
    else:
        _print_enhancement(facts, clips, output)
    if learned:
        click.echo(
            f"Note: the scores are of a model that has learned from {len(learned)} of the {len(clips)} clips with the "
            "labels as they are, as in PSLA. It confirms less of what they lack than on clips that it has not heard.",
            err=True,
        )
    for name, reason in failures:
        click.echo(f"Error: clip {name!r}: {reason}", err=True)
    if failures:
        click.echo(f"{len(failures)} of {len(clips)} clips could not be read; their labels stay as they are.", err=True)
        sys.exit(1)


def _check_sources(settings: Mapping[str, Any]) -> None:
    from_file = settings["scores_file"] is not None
    if from_file == (settings["model"] is not None):
        raise OptionError("scores come from a file or from a model", fix="Give one of --scores and --model.")
    other = ("weights", "options", "save_scores") if from_file else ("logits",)
    if unused := [name for name in other if settings[name]]:
        name = {"options": "option"}.get(unused[0], unused[0]).replace("_", "-")
        raise OptionError(
            f"--{name} does not go with {'--scores' if from_file else '--model'}", fix="Leave one of them out."
        )


def _scores(
    clips: ClipSet, data: ClipSource, settings: Mapping[str, Any]
) -> tuple[Scores, tuple[tuple[str, Exception], ...]]:
    if (path := settings["scores_file"]) is not None:
        from audiotag.data.scores import ScoresFile
        from audiotag.labels import read_labels

        is_npy = path.suffix.lower() == ".npy"
        if is_npy and data.labels is None:
            raise OptionError(
                "an .npy does not say which classes its columns are", where=path, fix="Give them with --labels."
            )
        columns = read_labels(data.labels) if is_npy and data.labels is not None else None
        wanted = [clip.id for clip in clips]
        return ScoresFile.read(path, labels=columns, logits=settings["logits"], only=wanted), ()
    from audiotag.inference.clip_scores import score_clip_set
    from audiotag.inference.loading import load

    tagger = load(
        settings["model"], weights=settings["weights"], options=settings["options"] or None, device=settings["device"]
    )
    with progress_bar("Tagging") as progress:
        scores, failures = score_clip_set(
            tagger, clips, batch_size=settings["batch_size"], workers=settings["workers"], progress=progress
        )
    if settings["save_scores"] is not None:
        scores.write(settings["save_scores"])
    return scores, failures


def _print_enhancement(facts: Mapping[str, Any], clips: ClipSet, output: Path) -> None:
    rows = sorted((pair for pair in facts["pairs"] if pair["added"]), key=lambda pair: -pair["added"])
    if rows:
        shown = [
            (f"{pair['type']}", f"{pair['threshold']:.4f}", *(str(pair[name]) for name in _COUNTED))
            for pair in rows[:_MAX_ROWS]
        ]
        right = ("THRESHOLD", "LACKING", "ADDED")
        print_columns(("TYPE", "THRESHOLD", *map(str.upper, _COUNTED)), shown, right=right)
        _more(len(rows), "--report FILE.csv has all")
    names = {label.mid: label.name for label in clips.labels}
    for what, mids in (
        ("lacking classes are carried by no clip with scores, so they have no threshold", _called_for(facts)),
        ("classes have no scores", facts["unscored_classes"]),
        ("classes are not in the ontology", facts["outside_ontology"]),
    ):
        _note(what, [names[mid] for mid in mids])
    _note("clips have no scores and stay as they are", facts["without_scores"])
    before, added = facts["labels_before"], facts["labels_added"]
    click.echo(
        f"{added} labels added to {facts['clips_changed']} of {facts['clips']} clips ({before} -> {before + added}); "
        f"type 1: {facts['added_type_1']}, type 2: {facts['added_type_2']}: {output}"
    )


@click.command(cls=Command)
@_data_option
@_ontology_option
@json_option
def check(data: ClipSource, ontology: Path | None, as_json: bool) -> None:
    """Count labels that clips lack by the ontology, without any scores.

    \b
    audiotag labels check --data train.json --labels audioset

    Type 1: a clip carries a class and none of its children. Type 2: it carries a class and lacks one above it. Classes
    are those of --labels, or those that occur. Labels that a clip names twice, that --labels lacks or that the
    ontology lacks are listed.
    """  # noqa: D301 # click takes the control character, not the two signs
    from audiotag.annotation.checks import check_labels

    clips = replace(data, unknown_labels="error" if data.labels is None else "skip").read(check_files=False)
    facts = check_labels(clips, ontology=ontology).to_dict()
    if as_json:
        echo_json(facts)
        return
    errors = facts["errors"]
    for kind, title in ((1, "Type 1: a class without any of its children"), (2, "Type 2: a class above is lacking")):
        rows = [error for error in errors if error["type"] == kind]
        if not rows:
            continue
        click.echo(title)
        last = ("child",) if kind == 2 else ()
        shown = [
            (str(row["clips"]), str(row["wrong"]), f"{row['share']:.1%}", *(row[name] for name in ("parent", *last)))
            for row in rows[:_MAX_ROWS]
        ]
        header = ("CLIPS", "WRONG", "SHARE", "PARENT", *map(str.upper, last))
        print_columns(header, shown, right=header[:3])
        _more(len(rows), "--json has all")
        click.echo()
    names = {label.mid: label.name for label in clips.labels}
    for what, counts in (
        ("classes are named more than once by a clip", facts["repeated"]),
        ("labels are not in the class list and were left out", facts["skipped"]),
        ("classes are not in the ontology", facts["outside_ontology"]),
        ("classes are abstract in the ontology and take no part", facts["abstract"]),
    ):
        _note(what, [f"{names.get(mid, mid)} ({count} clips)" for mid, count in counts.items()])
    click.echo(
        f"{facts['clips']} clips, {facts['labels']} labels; type 1: {facts['type_1_clips']} clips "
        f"({facts['type_1_share']:.1%}), type 2: {facts['type_2_clips']} clips ({facts['type_2_share']:.1%}) lack "
        f"{facts['labels_lacking_above']} labels, either: {facts['wrong_clips']} clips ({facts['wrong_share']:.1%})"
    )


def _called_for(facts: Mapping[str, Any]) -> list[str]:
    """Mids of classes without threshold that some clip lacks; the others, often hundreds, are of no interest."""
    lacking = {pair["child_mid"] if pair["type"] == 1 else pair["parent_mid"] for pair in facts["pairs"]}
    return [mid for mid in facts["without_threshold"] if mid in lacking]


def _note(what: str, names: list[str]) -> None:
    if names:
        click.echo(f"{len(names)} {what}: {'; '.join(names[:_MAX_NAMED])}{'; …' if len(names) > _MAX_NAMED else ''}")


def _more(count: int, where: str) -> None:
    if count > _MAX_ROWS:
        click.echo(f"… and {count - _MAX_ROWS} pairs more ({where})")


def _csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> bytes:
    names = list(columns)
    return csv_text([names, *([row[name] for name in names] for row in rows)]).encode()
