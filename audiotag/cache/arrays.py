"""Arrays on disk, so that they are computed once: what a frozen network makes of clips, what a teacher says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.cache.ledger import Entry, Ledger
from audiotag.cache.place import cache_bound, cache_folder


class ArrayCache(Ledger):
    """Arrays of float32 by key, in bounded space.

    Args:
        path: The SQLite file; None for ``embeddings.sqlite`` in the cache.
        max_bytes: Bound on the arrays together; None for `cache_bound`.

    Raises:
        StoreError: From any method: the file is not such a cache, or cannot be used.
    """

    what = "store of embeddings"

    def __init__(self, path: Path | None = None, max_bytes: int | None = None) -> None:
        super().__init__(path or cache_folder() / "embeddings.sqlite", max_bytes or cache_bound())

    def get(self, keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The arrays there are for *keys*."""
        with self._failures():
            return {entry.key: _array(entry.value) for entry in self._find(keys)}

    def put(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep *arrays* under their keys, in one transaction."""
        values = {key: _value(array) for key, array in arrays.items()}
        with self._failures():
            self._keep([Entry(key, value, len(value)) for key, value in values.items()])

    def __enter__(self) -> ArrayCache:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def _value(array: NDArray[np.float32]) -> bytes:
    shape = ",".join(map(str, array.shape))
    return shape.encode() + b"\n" + np.ascontiguousarray(array, dtype="<f4").tobytes()


def _array(value: bytes) -> NDArray[np.float32]:
    shape, _, data = value.partition(b"\n")
    return np.frombuffer(data, dtype="<f4").reshape([int(size) for size in shape.split(b",")])
