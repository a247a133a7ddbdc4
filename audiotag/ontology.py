"""Which class is a kind of which other: the AudioSet ontology, or one of the user's own.

The AudioSet ontology (Gemmeke et al., ICASSP 2017) is by Google, under CC BY 4.0.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from pathlib import Path
from typing import Any

from audiotag.documents import Fields, read_json
from audiotag.errors import LabelError, suggest
from audiotag.labels import composed

ABSTRACT = "abstract"
"""The restriction of nodes that only group others."""

_SHAPE = 'Expected: [{"id": "/m/09x0r", "name": "Speech", "restrictions": [], "child_ids": ["/m/05zppz"]}, …]'


@dataclass(frozen=True, slots=True)
class OntologyNode:
    """One class of an ontology.

    Attributes:
        mid: Its identity, as in a `audiotag.labels.LabelSet`.
        name: The name people read.
        restrictions: ``"abstract"`` for a node that only groups others; AudioSet also has ``"blacklist"``.
        children: Mids of the classes directly below.
    """

    mid: str
    name: str
    restrictions: tuple[str, ...] = ()
    children: tuple[str, ...] = ()

    @property
    def abstract(self) -> bool:
        """Whether it only groups others: nobody hears it, and it counts as nobody's parent."""
        return ABSTRACT in self.restrictions


class Ontology(Mapping[str, OntologyNode]):
    """Classes and what is below them, by mid; a class may have several parents.

    Abstract nodes count as parents of nothing: neither `parents` nor `ancestors` names one or passes through one, and
    their `children` are none.

    Args:
        nodes: The classes.
        source: File or name they come from, for messages.

    Raises:
        LabelError: There are none, a mid occurs twice, a child is no node, or a class is below itself.
    """

    def __init__(self, nodes: Iterable[OntologyNode], source: str = "ontology") -> None:
        self.source = source
        self._nodes: dict[str, OntologyNode] = {}
        for node in nodes:
            if node.mid in self._nodes:
                raise LabelError(f"the class {node.mid!r} occurs twice", where=source, fix="Give each class once.")
            self._nodes[node.mid] = node
        if not self._nodes:
            raise LabelError("the ontology is empty", where=source, fix=_SHAPE)
        parents: dict[str, list[str]] = {mid: [] for mid in self._nodes}
        for node in self._nodes.values():
            for child in node.children:
                if child not in parents:
                    raise LabelError(
                        f"{node.mid!r} ({node.name}) has the child {child!r}, which is not a class of the ontology",
                        where=source,
                        fix=suggest(child, parents) or "List every child as a class of its own.",
                    )
                if not node.abstract and node.mid not in parents[child]:
                    parents[child].append(node.mid)
        self._parents = {mid: tuple(above) for mid, above in parents.items()}
        try:
            TopologicalSorter({node.mid: node.children for node in self._nodes.values()}).prepare()
        except CycleError as error:
            circle = " > ".join(reversed(error.args[1]))
            raise LabelError(
                f"classes are below themselves: {circle}", where=source, fix="Break the circle."
            ) from error

    def __getitem__(self, mid: str) -> OntologyNode:
        return self._nodes[mid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"Ontology({len(self)} classes from {self.source})"

    def children(self, mid: str) -> tuple[str, ...]:
        """Mids of the classes directly below *mid*; none for an abstract node.

        Raises:
            LabelError: There is no such class.
        """
        node = self._node(mid)
        return () if node.abstract else tuple(dict.fromkeys(node.children))

    def parents(self, mid: str) -> tuple[str, ...]:
        """Mids of the classes directly above *mid* that are not abstract.

        Raises:
            LabelError: There is no such class.
        """
        return self._parents[self._node(mid).mid]

    def ancestors(self, mid: str) -> tuple[str, ...]:
        """Mids of every class above *mid*, the nearest first.

        Raises:
            LabelError: There is no such class.
        """
        found: dict[str, None] = {}
        level: Sequence[str] = self.parents(mid)
        while level:
            found.update(dict.fromkeys(level))
            level = list(dict.fromkeys(above for one in level for above in self._parents[one] if above not in found))
        return tuple(found)

    def _node(self, mid: str) -> OntologyNode:
        try:
            return self._nodes[mid]
        except KeyError:
            raise LabelError(
                f"there is no class {mid!r} in the ontology", where=self.source, fix=suggest(mid, self._nodes)
            ) from None

    @classmethod
    def from_json(cls, path: str | Path) -> Ontology:
        """Read an ontology as AudioSet publishes its own: a list of objects.

        Each has an ``id`` and may have ``name``, ``restrictions`` and ``child_ids``; other keys are passed over.

        Raises:
            LabelError: The file cannot be read or is of another shape, or as `Ontology` raises.
        """
        content = read_json(path, error=LabelError, fix=_SHAPE)
        if not isinstance(content, list):
            raise LabelError("the ontology is not a list of classes", where=path, fix=_SHAPE)
        return cls([_node(entry, f"{path}, entry {number}") for number, entry in enumerate(content, 1)], str(path))


@lru_cache(maxsize=1)
def audioset_ontology() -> Ontology:
    """The AudioSet ontology: 632 classes, 527 of which AudioSet labels."""
    text = files("audiotag").joinpath("ontologies/audioset.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    nodes = [
        OntologyNode(row["mid"], row["name"], tuple(row["restrictions"].split()), tuple(row["children"].split()))
        for row in rows
    ]
    return Ontology(nodes, "the AudioSet ontology")


def read_ontology(source: str | Path | Ontology | None = None) -> Ontology:
    """An `Ontology` from itself or a JSON file; None for AudioSet's.

    Raises:
        LabelError: As `Ontology.from_json` raises.
    """
    if isinstance(source, Ontology):
        return source
    return audioset_ontology() if source is None else Ontology.from_json(source)


def _node(entry: Any, where: str) -> OntologyNode:
    fields = Fields(entry, where=where, error=LabelError, fix=_SHAPE)
    mid = fields.text("id").strip()
    if not mid:
        raise fields.refuse("id", "is empty")
    restrictions, children = (tuple(map(composed, fields.texts(key, []))) for key in ("restrictions", "child_ids"))
    return OntologyNode(composed(mid), composed(fields.text("name", mid)), restrictions, children)
