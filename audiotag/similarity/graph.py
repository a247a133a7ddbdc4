"""Nearest rows of many, nearly: a navigable graph over principal components, whose candidates are compared exactly.

The graph is usearch's: hierarchical navigable small worlds, Malkov & Yashunin, IEEE TPAMI 42 (4), 2020. It holds the
projections of rows on the principal components of a sample, a sixth of their numbers, so that it is made six times
faster than one of the rows themselves and loses hardly a neighbour (`benchmarks/similarity.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.errors import StoreError, needed_for
from audiotag.files import atomic_path
from audiotag.similarity.database import GraphRecord

COMPONENTS = 128
_SAMPLE = 20_000
_CONNECTIVITY = 16
_CARE_IN_ADDING = 64
_REFIT = 8
"""Components are found again when there are so many times the rows that they were found from."""

_BLOCK = 8192
_FIX = "Build the index again with: audiotag index build"


class Graph:
    """A graph over the first rows of a matrix.

    Args:
        folder: The index.
        record: What its database says of the graph.
        dim: Length of a row.
        view: Map the file into memory instead of reading it; nothing can be added then.

    Raises:
        MissingExtraError: usearch is not installed.
        StoreError: The file is missing or damaged.
    """

    def __init__(self, folder: Path, record: GraphRecord, dim: int, *, view: bool = True) -> None:
        path = folder / record.file
        size = COMPONENTS if dim > COMPONENTS else dim
        if not path.is_file() or path.stat().st_size != record.size or len(record.components) != dim * size * 4:
            raise StoreError("the graph of the index is damaged", where=path, fix=_FIX)
        self.record = record
        self.components = np.frombuffer(record.components, dtype=np.float32).reshape(dim, size)
        self._graph = _empty(size)
        if view:
            self._graph.view(str(path))
        else:
            self._graph.load(str(path))
        if self._graph.ndim != size or len(self._graph) != record.rows:
            raise StoreError("the graph of the index is of other rows", where=path, fix=_FIX)

    def candidates(self, question: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """About *count* rows that are among the nearest, best first."""
        self._graph.expansion_search = count
        keys: NDArray[np.uint64] = self._graph.search(question @ self.components, count).keys
        return keys.astype(np.int64)

    @classmethod
    def grown(cls, folder: Path, matrix: NDArray[np.float32], old: Graph | None, threads: int) -> GraphRecord:
        """A file with a graph over all rows of *matrix*; it counts when the database says so.

        Args:
            folder: The index.
            matrix: float32 (rows, dim), of unit length.
            old: What there is, not `view`ed; its components are kept unless there are many more rows now.
            threads: How many may add.
        """
        rows = len(matrix)
        if old is None or rows >= _REFIT * old.record.fitted:
            components, fitted, start = _principal(matrix), rows, 0
            graph = _empty(components.shape[1])
        else:
            components, fitted, start = old.components, old.record.fitted, old.record.rows
            graph = old._graph
        for first in range(start, rows, _BLOCK):
            last = min(first + _BLOCK, rows)
            graph.add(np.arange(first, last), np.asarray(matrix[first:last]) @ components, threads=threads)
        path = folder / f"graph-{rows}.usearch"
        with atomic_path(path) as temporary:
            graph.save(str(temporary))
        return GraphRecord(path.name, path.stat().st_size, rows, fitted, components.tobytes())


def _empty(size: int) -> Any:
    with needed_for("an index of many recordings"):
        from usearch.index import Index
    return Index(ndim=size, metric="ip", dtype="f16", connectivity=_CONNECTIVITY, expansion_add=_CARE_IN_ADDING)


def _principal(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """The directions (dim, components) in which rows differ most, from evenly spaced ones."""
    step = max(1, len(matrix) // _SAMPLE)
    gram = np.zeros((matrix.shape[1], matrix.shape[1]))
    for first in range(0, len(matrix), step * _BLOCK):
        sample = np.asarray(matrix[first : first + step * _BLOCK : step])
        gram += sample.T @ sample
    _, directions = np.linalg.eigh(gram)
    return np.ascontiguousarray(directions[:, ::-1][:, :COMPONENTS], dtype=np.float32)
