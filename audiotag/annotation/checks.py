"""What the ontology alone says about labels: both kinds of error that PSLA names (arXiv 2102.01243), counted."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiotag.annotation.enhancement import named_pair, relations
from audiotag.data.clips import ClipSet
from audiotag.display import brief_repr
from audiotag.ontology import Ontology, read_ontology


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Clips in which one class, or one pair, is labelled wrongly.

    Attributes:
        type: 1 for a parent without any of its children, 2 for a child without a class above it.
        parent: Column of the parent (type 2: of the class above).
        child: Column of the child; None for type 1, where any child would do.
        carrying: Clips that carry the parent (type 1) or the child (type 2).
        wrong: Those of them with the error.
    """

    type: int
    parent: int
    child: int | None
    carrying: int
    wrong: int


@brief_repr
@dataclass(frozen=True)
class LabelCheck:
    """Errors in the labels of a set.

    Attributes:
        clips: The clips.
        errors: Classes and pairs with errors, type 1 first, those with most clips first.
        type_1_clips: Clips with an error of type 1.
        type_2_clips: Clips with an error of type 2.
        wrong_clips: Clips with either.
        lacking_above: Labels of classes above that are lacking, each once a clip.
        outside_ontology: Mid → clips that carry it, of classes that the ontology lacks.
        abstract: Mid → clips that carry it, of classes that are abstract in the ontology and so take no part.
    """

    clips: ClipSet
    errors: tuple[ErrorCount, ...]
    type_1_clips: int
    type_2_clips: int
    wrong_clips: int
    lacking_above: int
    outside_ontology: dict[str, int]
    abstract: dict[str, int]

    def report(self) -> list[dict[str, Any]]:
        """One row for each of *errors*: type, parent and child (mid and name), clips carrying, wrong, and the share."""
        return [
            {
                "type": error.type,
                **named_pair(self.clips.labels, error.parent, error.child),
                "clips": error.carrying,
                "wrong": error.wrong,
                "share": error.wrong / error.carrying,
            }
            for error in self.errors
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain JSON types; shares are of all clips, in the rows of those that carry the class."""
        count = len(self.clips)
        return {
            "clips": count,
            "labels": sum(len(clip.labels) for clip in self.clips),
            "type_1_clips": self.type_1_clips,
            "type_1_share": self.type_1_clips / count,
            "type_2_clips": self.type_2_clips,
            "type_2_share": self.type_2_clips / count,
            "wrong_clips": self.wrong_clips,
            "wrong_share": self.wrong_clips / count,
            "labels_lacking_above": self.lacking_above,
            "errors": self.report(),
            "repeated": dict(self.clips.repeated),
            "skipped": dict(self.clips.skipped),
            "outside_ontology": dict(self.outside_ontology),
            "abstract": dict(self.abstract),
        }


def check_labels(clips: ClipSet, *, ontology: str | Path | Ontology | None = None) -> LabelCheck:
    """Count, without any scores, labels that the ontology finds wanting.

    Type 1: a clip carries a class and none of its children, though the class list has some. Type 2: a clip carries a
    class and lacks one above it that the class list has. Labels of which nobody has said anything (`Clip.unknown`)
    are no error.

    Args:
        clips: Labelled clips.
        ontology: A JSON file in the shape of AudioSet's; None for AudioSet's own.

    Raises:
        LabelError: The ontology is wrong or has none of the classes.
    """
    tree = read_ontology(ontology)
    pairs = relations(clips.labels, tree)
    # By class, so that each pair reads rows that lie together.
    carried = np.ascontiguousarray(clips.targets().T > 0)
    known = clips.known()
    absent = ~carried if known is None else ~carried & known.T
    children: dict[int, list[int]] = defaultdict(list)
    for pair in pairs:
        if pair.type == 1:
            children[pair.parent].append(pair.child)
    errors = []
    type_1 = np.zeros(len(clips), dtype=np.bool_)
    for parent, below in children.items():
        wrong = carried[parent] & absent[below].all(axis=0)
        type_1 |= wrong
        errors.append(ErrorCount(1, parent, None, int(carried[parent].sum()), int(wrong.sum())))
    above = np.zeros_like(carried)
    for pair in pairs:
        if pair.type == 2:
            wrong = carried[pair.child] & absent[pair.parent]
            above[pair.parent] |= wrong
            errors.append(ErrorCount(2, pair.parent, pair.child, int(carried[pair.child].sum()), int(wrong.sum())))
    type_2 = above.any(axis=0)
    counts = {mid: int(count) for mid, count in zip(clips.labels.mids, carried.sum(axis=1), strict=True) if count}
    return LabelCheck(
        clips=clips,
        errors=tuple(sorted((one for one in errors if one.wrong), key=lambda one: (one.type, -one.wrong))),
        type_1_clips=int(type_1.sum()),
        type_2_clips=int(type_2.sum()),
        wrong_clips=int((type_1 | type_2).sum()),
        lacking_above=int(above.sum()),
        outside_ontology={mid: count for mid, count in counts.items() if mid not in tree},
        abstract={mid: count for mid, count in counts.items() if mid in tree and tree[mid].abstract},
    )
