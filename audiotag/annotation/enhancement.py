"""Label enhancement: labels that annotators left out, found with an ontology and a model's scores.

Gong, Chung, Glass, PSLA (TASLP 2021, arXiv 2102.01243), section on labelling. Two kinds of error are mended. Type 1: a
clip carries a parent class and lacks its child. Type 2: it carries a child and lacks a class above it. What is lacking
is added where its score exceeds the threshold of its class, a statistic of the scores of the clips that carry it. Both
kinds start from the labels as given, and their results are united.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import ClipSet
from audiotag.data.scores import Scores
from audiotag.display import brief_repr
from audiotag.errors import LabelError, OptionError
from audiotag.labels import LabelSet
from audiotag.ontology import Ontology, read_ontology

Bools = NDArray[np.bool_]

Threshold = Literal["mean", "median", "25", "10", "5"]
"""Statistic of a class's scores that is its threshold: mean, median, or a percentile."""

Types = Literal["1", "2", "both"]
"""Which errors are mended."""

_LEFT_ALONE = ("without_threshold", "without_scores", "unscored_classes", "outside_ontology")
_PERCENTILES = {"median": 50.0, "25": 25.0, "10": 10.0, "5": 5.0}


@dataclass(frozen=True, slots=True)
class Relation:
    """A pair of classes that can make an error, as columns of the class list.

    Attributes:
        type: 1, where a clip with *parent* may lack *child*, or 2, where one with *child* may lack *parent*.
        parent: For type 1 directly above *child*, for type 2 anywhere above it.
        child: The class below.
    """

    type: int
    parent: int
    child: int

    @property
    def carried(self) -> int:
        """The class that a clip has."""
        return self.parent if self.type == 1 else self.child

    @property
    def lacking(self) -> int:
        """The class that it may lack."""
        return self.child if self.type == 1 else self.parent


@dataclass(frozen=True, slots=True)
class RelationCount:
    """What became of one pair of classes.

    Attributes:
        relation: The pair.
        threshold: Of the class that may be lacking; None where it has none.
        lacking: Clips that carry the one class and lack the other.
        added: Those of them that got it. A label that several pairs call for counts in each.
    """

    relation: Relation
    threshold: float | None
    lacking: int
    added: int


@brief_repr
@dataclass(frozen=True)
class Enhancement:
    """Labels before and after.

    Attributes:
        clips: The clips with the labels added; a multi-label set, whatever it was.
        added: bool (clips, classes): what was added.
        added_by_type: The same for type 1 and type 2 each; a label that both call for is in both.
        thresholds: float64 (classes,), NaN for classes without one.
        pairs: One entry for each pair of classes with clips that lack a label, in the order of the ontology.
        without_threshold: Mids of classes that no clip with scores carries: they are never added.
        without_scores: Ids of clips without scores, whose labels stay as they were.
        unscored_classes: Mids of classes without scores: they are never added.
        outside_ontology: Mids of classes that the ontology lacks: they call for nothing and are never added.
    """

    clips: ClipSet
    added: Bools
    added_by_type: dict[int, Bools]
    thresholds: NDArray[np.float64]
    pairs: tuple[RelationCount, ...]
    without_threshold: tuple[str, ...]
    without_scores: tuple[str, ...]
    unscored_classes: tuple[str, ...]
    outside_ontology: tuple[str, ...]

    def added_to(self) -> dict[str, tuple[str, ...]]:
        """Clip id → mids added to it, of the clips that got any."""
        rows = np.flatnonzero(self.added.any(axis=1))
        mids = self.clips.labels.mids
        return {self.clips[row].id: tuple(mids[index] for index in np.flatnonzero(self.added[row])) for row in rows}

    def report(self) -> list[dict[str, Any]]:
        """One row for each of *pairs*: type, parent and child (mid and name), threshold, lacking, added."""
        return [
            {
                "type": pair.relation.type,
                **named_pair(self.clips.labels, pair.relation.parent, pair.relation.child),
                "threshold": pair.threshold,
                "lacking": pair.lacking,
                "added": pair.added,
            }
            for pair in self.pairs
        ]

    def to_dict(self) -> dict[str, Any]:
        """Totals, the report and what was left alone, in plain JSON types."""
        return {
            "clips": len(self.clips),
            "clips_changed": int(self.added.any(axis=1).sum()),
            "labels_before": sum(len(clip.labels) for clip in self.clips) - int(self.added.sum()),
            "labels_added": int(self.added.sum()),
            "added_type_1": int(self.added_by_type[1].sum()),
            "added_type_2": int(self.added_by_type[2].sum()),
            "pairs": self.report(),
            **{name: list(getattr(self, name)) for name in _LEFT_ALONE},
        }


def class_thresholds(targets: Bools, scores: NDArray[np.floating[Any]], kind: str) -> NDArray[np.float64]:
    """The threshold of each class: a statistic of its scores over the clips that carry it.

    Args:
        targets: bool (clips, classes).
        scores: (clips, classes); NaN where there is none.
        kind: A `Threshold`.

    Returns:
        float64 (classes,), NaN for classes that no clip with a score carries.

    Raises:
        OptionError: *kind* is unknown.
    """
    if kind not in get_args(Threshold):
        raise OptionError(f"there is no threshold {kind!r}", fix=f"Use {', '.join(get_args(Threshold))}.")
    thresholds = np.full(targets.shape[1], np.nan)
    for index in range(targets.shape[1]):
        own = scores[targets[:, index], index].astype(np.float64)
        own = own[~np.isnan(own)]
        if len(own):
            thresholds[index] = own.mean() if kind == "mean" else np.percentile(own, _PERCENTILES[kind])
    return thresholds


def relations(labels: LabelSet, ontology: Ontology, types: str = "both") -> list[Relation]:
    """Every pair of classes of *labels* that can make an error, in the order of the ontology.

    Abstract nodes are in no pair, classes that *labels* lacks neither.

    Raises:
        OptionError: *types* is no `Types`.
        LabelError: The ontology has none of the classes.
    """
    if types not in get_args(Types):
        raise OptionError(f"there is no type {types!r}", fix="Use 1, 2 or both.")
    column = {mid: index for index, mid in enumerate(labels.mids) if mid in ontology and not ontology[mid].abstract}
    if not column:
        raise LabelError(
            f"none of the {len(labels)} classes of {labels.source} is in {ontology.source}",
            fix="Classes are matched by mid: give the class list that has them, or an ontology of your own.",
        )
    ordered = [mid for mid in ontology if mid in column]
    below = [(mid, child) for mid in ordered for child in ontology.children(mid)] if types != "2" else []
    above = [(parent, mid) for mid in ordered for parent in ontology.ancestors(mid)] if types != "1" else []
    return [
        Relation(kind, column[parent], column[child])
        for kind, pairs in ((1, below), (2, above))
        for parent, child in pairs
        if parent in column and child in column
    ]


def missing_labels(
    targets: Bools, scores: NDArray[np.floating[Any]], thresholds: NDArray[np.float64], pairs: Iterable[Relation]
) -> tuple[dict[int, Bools], list[RelationCount]]:
    """Labels that *pairs* call for and that score above their thresholds.

    Args:
        targets: bool (clips, classes): the labels as given.
        scores: (clips, classes); NaN where there is none, and there nothing is added.
        thresholds: (classes,); NaN for classes that are never added.
        pairs: As `relations` gives them.

    Returns:
        Type (1 and 2) → bool (clips, classes), the labels to add; and the pairs with clips that lack a label.
    """
    # By class, so that each pair reads rows that lie together.
    carried = np.ascontiguousarray(targets.T)
    with np.errstate(invalid="ignore"):
        passing = np.ascontiguousarray((scores > thresholds).T)
    added = {kind: np.zeros_like(carried) for kind in (1, 2)}
    counts = []
    for pair in pairs:
        lacking = carried[pair.carried] & ~carried[pair.lacking]
        if not lacking.any():
            continue
        adding = lacking & passing[pair.lacking]
        added[pair.type][pair.lacking] |= adding
        threshold = float(thresholds[pair.lacking])
        counts.append(
            RelationCount(pair, None if np.isnan(threshold) else threshold, int(lacking.sum()), int(adding.sum()))
        )
    return {kind: one.T for kind, one in added.items()}, counts


def enhance_labels(
    clips: ClipSet,
    scores: Scores,
    *,
    threshold: Threshold = "mean",
    types: Types = "both",
    ontology: str | Path | Ontology | None = None,
) -> Enhancement:
    """Add labels that clips lack by the ontology and have by a model's scores.

    A label is never taken away. Clips without scores stay as they are; so does a class that no clip carries, that has
    no scores, or that the ontology lacks.

    Args:
        clips: Labelled clips. The class list decides what can be added.
        scores: A model's probabilities, matched by clip id and mid; see `audiotag.data.scores.ScoresFile`.
        threshold: Statistic of the scores of the clips that carry a class: its score must exceed that to be added.
        types: ``"1"`` adds children of classes that a clip carries, ``"2"`` classes above them, ``"both"`` either.
        ontology: A JSON file in the shape of AudioSet's; None for AudioSet's own.

    Raises:
        ManifestError: No clip, or no class, has scores.
        LabelError: The ontology is wrong or has none of the classes.
        OptionError: *threshold* or *types* is unknown.
    """
    tree = read_ontology(ontology)
    pairs = relations(clips.labels, tree, types)
    aligned, without_scores = scores.aligned(clips, missing_classes="nan")
    targets = clips.targets() > 0
    thresholds = class_thresholds(targets, aligned, threshold)
    by_type, counts = missing_labels(targets, aligned, thresholds, pairs)
    added = by_type[1] | by_type[2]
    mids = clips.labels.mids
    scored = set(scores.mids)
    return Enhancement(
        clips=_with_labels(clips, added),
        added=added,
        added_by_type=by_type,
        thresholds=thresholds,
        pairs=tuple(counts),
        without_threshold=tuple(mids[index] for index in np.flatnonzero(np.isnan(thresholds)) if mids[index] in scored),
        without_scores=without_scores,
        unscored_classes=tuple(mid for mid in mids if mid not in scored),
        outside_ontology=tuple(mid for mid in mids if mid not in tree),
    )


def _with_labels(clips: ClipSet, added: Bools) -> ClipSet:
    changed = list(clips.clips)
    for row in np.flatnonzero(added.any(axis=1)):
        new = {int(index) for index in np.flatnonzero(added[row])}
        clip = changed[row]
        changed[row] = replace(
            clip,
            labels=tuple(sorted({*clip.labels, *new})),
            unknown=tuple(index for index in clip.unknown if index not in new),
        )
    return replace(clips, clips=tuple(changed), single_label=False)


def named_pair(labels: LabelSet, parent: int, child: int | None) -> dict[str, str | None]:
    """Mids and names of a pair of classes of *labels*, as reports name it; None for a child that may be any."""
    above, below = labels[parent], None if child is None else labels[child]
    names = {"parent_mid": above.mid, "parent": above.name}
    return {**names, "child_mid": below and below.mid, "child": below and below.name}
