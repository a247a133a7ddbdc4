"""A model by name, by checkpoint folder, or from a published file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from audiotag.errors import AudiotagWarning, CheckpointError, LabelError, OptionError, UnknownNameError
from audiotag.host import get_host
from audiotag.labels import LabelSet, known_labels, read_labels
from audiotag.models.backbone import Backbone
from audiotag.models.checkpoint import load_checkpoint
from audiotag.models.create import build_backbone
from audiotag.models.facts import FACTS_FILE, find_checkpoint
from audiotag.models.model import Model
from audiotag.models.published import (
    LoadReport,
    load_published,
    published_classes,
    read_weights,
    registered_weights,
)
from audiotag.places import exists, is_folder
from audiotag.specs import BackboneSpec

Labels = str | Path | LabelSet | Sequence[str]
"""What `audiotag.labels.read_labels` takes."""


def load_model(
    name: str | Path,
    *,
    weights: str | Path | None = None,
    labels: Labels | None = None,
    options: Mapping[str, Any] | None = None,
    untrained_head: bool = False,
    progress: bool = False,
    report: Callable[[LoadReport], object] | None = None,
) -> Model:
    """Load a model, on the CPU, in eval mode.

    Args:
        name: A registered model (``"mn10_as"``, whose weights are downloaded once), a family (``"mn"``, with
            *weights*), or the folder of a checkpoint or training run of ours.
        weights: A local file of published weights, or a checkpoint or run folder of ours that must be of the
            same family. A file's head decides the number of classes.
        labels: The classes of the weights: a CSV, a known name, a `LabelSet` or names. None takes those that
            the registry or the checkpoint states; a file whose classes nobody states gets ``class 0``,
            ``class 1``, …. Where the classes of the weights are known and these are the same in another order, the
            order of the weights stands, and an `AudiotagWarning` says so.
        options: Settings of the family (``{"width_mult": 0.4}``), on top of the registered ones.
        untrained_head: Accept weights without a head (a pre-training checkpoint that is to be fine-tuned), or, where
            no *labels* are given, a file with a head of another shape; the fresh head has the classes of *labels*,
            or one.
        progress: Draw a progress bar while weights are downloaded.
        report: Told what became of the entries of a published file; checkpoints of ours fit by construction.

    Raises:
        UnknownNameError: There is no such model or folder.
        WeightsError: The weights cannot be had.
        CheckpointError: The weights do not fit.
        LabelError: *labels* and the weights disagree about the classes.
        OptionError: *options* do not suit the model, or a family is named without weights.
    """
    options = dict(options or {})
    chosen = None if labels is None else read_labels(labels)
    folder = named_folder(name)
    if folder is not None:
        if weights is not None:
            raise OptionError(
                "weights are given beside a checkpoint, which has its own",
                where=folder,
                fix="Give one of them.",
            )
        return _from_checkpoint(folder, chosen, options)
    spec = get_host().backbone(str(name))
    if weights is not None and is_folder(weights):
        model = _from_checkpoint(Path(weights), chosen, options)
        if model.spec.family != spec.family:
            raise CheckpointError(
                f"it is of the family {model.spec.family!r}, and {spec.name!r} is of {spec.family!r}",
                where=weights,
                fix=f"Load it by its folder alone, or with a model of {model.spec.family!r}.",
            )
        return model
    if weights is not None:
        found = _of_file(spec, Path(weights), chosen, options, untrained_head)
    elif spec.weights is not None:
        found = _of_registry(spec, chosen, options, untrained_head, progress)
    else:
        published = [one.name for one in get_host().backbones.values() if one.family == spec.family and one.weights]
        raise OptionError(
            "it is a family of networks and has no weights of its own",
            where=spec.name,
            fix=f"Give --weights FILE, or load one of: {', '.join(published) or 'none'}.",
        )
    with _taking_weights(spec, found.path):
        told = load_published(found.backbone, found.source, head=found.head, where=found.path)
    _require_head(found.backbone, told, untrained_head)
    if report is not None:
        report(told)
    found.backbone.eval()
    return Model(
        backbone=found.backbone,
        spec=spec,
        options={**spec.options, **options},
        labels=found.labels,
        name=found.path.stem if spec.weights is None else spec.name,
        single_label=spec.single_label,
        metadata={"weights": {"file": Path(told.source).name, "loaded": len(told.loaded), "unused": list(told.unused)}},
    )


class _Found(NamedTuple):
    """Published weights, the network to load them into and its classes."""

    backbone: Backbone
    labels: LabelSet
    source: Mapping[str, Any] | Path
    path: Path
    head: Literal["strict", "replace"] = "strict"


def named_folder(name: str | Path) -> Path | None:
    """The checkpoint that *name* means when it is a path; registered names go first."""
    path = Path(name)
    if isinstance(name, str) and not _looks_like_path(name) and get_host().knows_backbone(name):
        return None
    if exists(path):
        return find_checkpoint(path)
    if isinstance(name, str) and not _looks_like_path(name):
        return None
    try:
        return find_checkpoint(path)  # a killed writer may have left it under a hidden name
    except CheckpointError as error:
        raise UnknownNameError(
            "there is no such folder, and no model has that name",
            where=path,
            fix="`audiotag models list` shows the names; a run folder is what finetune wrote.",
        ) from error


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~")) or any(mark in name for mark in (os.sep, os.altsep, "/") if mark)


def _from_checkpoint(folder: Path, labels: LabelSet | None, options: Mapping[str, Any]) -> Model:
    if options:
        raise OptionError(
            f"options ({', '.join(options)}) are given for a checkpoint, which has its own",
            where=folder,
            fix=f"They are in its {FACTS_FILE}; leave them out.",
        )
    model = load_checkpoint(folder)
    if labels is not None:
        model.labels = _same_classes(labels, model.labels, f"the checkpoint {folder}")
    return model


def _same_classes(given: LabelSet, known: LabelSet, whose: str) -> LabelSet:
    """*given* in the order of *known*, which is that of the scores; refused where it has other classes."""
    ordered = _in_order_of(given, known, whose)
    if ordered is not None:
        return ordered
    if len(given) != len(known):
        what = f"{given.source} has {len(given)} classes, and {whose} has {len(known)}"
    else:
        index = next(i for i, pair in enumerate(zip(given.mids, known.mids, strict=True)) if pair[0] != pair[1])
        mids = f"{given[index].mid!r} at index {index}, where {whose} has {known[index].mid!r}"
        what = f"{given.source} has {mids}"
    raise LabelError(what, fix="Leave the labels out: the model has its own classes. For other classes, fine-tune it.")


def _in_order_of(given: LabelSet, known: LabelSet, whose: str) -> LabelSet | None:
    """*given* in the order of *known* where the two have the same classes, by mid or by name; None where not."""
    if sorted(given.mids) == sorted(known.mids):
        by_mid = {label.mid: label for label in given}
        ordered = LabelSet([by_mid[mid] for mid in known.mids], given.source)
        moved = given.mids != known.mids
    elif given.mids == given.names and sorted(given.names) == sorted(known.names):  # names are all that was given
        ordered, moved = LabelSet(known, given.source), given.names != known.names
    else:
        return None
    if moved:
        warnings.warn(
            f"{given.source} has the classes of {whose} in another order; the scores keep theirs",
            AudiotagWarning,
            stacklevel=5,
        )
    return ordered


def _believed(given: LabelSet, known: LabelSet, whose: str) -> LabelSet:
    """*given*, with a word where most of it are the classes of *known* in other places: a list that was edited."""
    places = {mid: place for place, mid in enumerate(known.mids)}
    moved = sum(places.get(mid, place) != place for place, mid in enumerate(given.mids))
    if len(given) == len(known) and 2 * moved > len(known):
        warnings.warn(
            f"{moved} classes of {given.source} stand in other places than in {whose}, and are believed; leave the "
            "labels out if the file has the classes of that model",
            AudiotagWarning,
            stacklevel=4,
        )
    return given


def _warn_of_order(given: LabelSet, family: str) -> None:
    """Say where *given* are the classes of the family's published weights in another order."""
    specs = get_host().backbones.values()
    for name in sorted({spec.labels for spec in specs if spec.family == family and spec.labels is not None}):
        known = known_labels(name)
        if given.mids != known.mids and sorted(given.mids) == sorted(known.mids):
            warnings.warn(
                f"{given.source} has the classes of {name!r} in another order than published weights of {family!r}; "
                "where this file is one of them, name its model or take that list",
                AudiotagWarning,
                stacklevel=4,
            )


def _of_registry(
    spec: BackboneSpec, labels: LabelSet | None, options: dict[str, Any], untrained_head: bool, progress: bool
) -> _Found:
    if spec.num_classes is None and not untrained_head:
        raise _no_head(spec.name)
    classes = spec.num_classes or (1 if labels is None else len(labels))
    known = known_labels(spec.labels) if spec.labels is not None else None
    if known is not None and len(known) != classes:
        raise LabelError(
            f"the class list {spec.labels!r} has {len(known)} classes, and the model {classes}",
            where=spec.name,
            fix=f"It is a mistake of {get_host().owner(spec).label}; report it to its authors.",
        )
    if labels is not None:
        if known is not None:
            labels = _same_classes(labels, known, repr(spec.name))
        _require_count(labels, classes, repr(spec.name))
    backbone = build_backbone(spec, classes, options)
    source, path = registered_weights(spec, progress=progress)
    return _Found(backbone, labels or known or numbered_labels(classes), source, path)


def _of_file(
    spec: BackboneSpec, path: Path, labels: LabelSet | None, options: dict[str, Any], untrained_head: bool
) -> _Found:
    backbone = build_backbone(spec, 2 if labels is None else len(labels), options)
    source = read_weights(spec, [path])
    with _taking_weights(spec, path):
        in_file = published_classes(backbone, source, where=path)
    known = known_labels(spec.labels) if spec.labels is not None else None
    head: Literal["strict", "replace"] = "strict"
    if labels is not None:
        if in_file is not None:
            _require_count(labels, in_file, f"the file {path}")
        if known is not None:  # the same classes in another order would put their names to other classes' scores
            labels = _in_order_of(labels, known, repr(spec.name)) or _believed(labels, known, repr(spec.name))
        else:
            _warn_of_order(labels, spec.family)
    elif in_file is None and untrained_head:
        labels, head = numbered_labels(1), "replace"
    elif in_file is None:
        with _taking_weights(spec, path):
            report = load_published(backbone, source, head="replace", where=path)
        _require_head(backbone, report, untrained_head)
        raise CheckpointError(
            "the number of classes cannot be read from the file, whose head lacks entries of the network's or has "
            f"them in another shape: {', '.join(report.replaced)}",
            where=path,
            fix="Give the options it was trained with (such as the mode, or the kind of head).",
        )
    elif known is not None and len(known) == in_file:
        labels = known
    elif spec.num_classes not in (None, in_file):
        raise LabelError(
            f"the file has {in_file} classes, and {spec.name!r} has {spec.num_classes}",
            where=path,
            fix="Give the file's class list with --labels.",
        )
    else:
        labels = numbered_labels(in_file)
    if backbone.num_classes != len(labels):
        backbone = build_backbone(spec, len(labels), options)
    return _Found(backbone, labels, source, path, head)


def _taking_weights(spec: BackboneSpec, path: Path) -> AbstractContextManager[None]:
    return get_host().computing(spec, f"taking the weights in {path}")


def _require_head(backbone: Backbone, report: LoadReport, untrained_head: bool) -> None:
    if not untrained_head and set(report.fresh) & set(backbone.head_keys()):
        raise _no_head(report.source)


def _no_head(where: str) -> CheckpointError:
    return CheckpointError(
        "the weights come without a head, so the model knows no classes yet",
        where=where,
        fix="Fine-tune it: audiotag finetune --backbone NAME (and --weights FILE for a local file).",
    )


def _require_count(labels: LabelSet, classes: int, whose: str) -> None:
    if len(labels) != classes:
        raise LabelError(
            f"{labels.source} has {len(labels)} classes, and {whose} has {classes}",
            fix="Give the class list the weights were trained on; for other classes, fine-tune the model.",
        )


def numbered_labels(count: int) -> LabelSet:
    """Stand-ins for the classes of weights that come without names: ``class 0``, ``class 1``, …."""
    return LabelSet.from_names([f"class {index}" for index in range(count)], source="numbers in place of names")
