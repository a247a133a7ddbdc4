"""What a store says about itself and its clips."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.distances import classes_retained, kl_stored_from_observed, total_variation
from audiotag.display import brief_repr
from audiotag.errors import StoreError

Kind = Literal["audio", "embedding"]


@brief_repr
@dataclass(frozen=True, slots=True)
class StoredClip:
    """A clip in a store.

    Attributes:
        id: Its name.
        labels: Indices of its classes in the store's class list, ascending.
        path: The recording, or the embedding as a ``.npy`` file. Gone as soon as the clip is evicted.
        kind: ``"audio"`` or ``"embedding"``.
        bytes: Size of the file.
        sha256: Hex digest of the file.
        source: Where the clip came from, as given when it was added.
        added: When it was added, ISO 8601 in UTC.
    """

    id: str
    labels: tuple[int, ...]
    path: Path
    kind: Kind
    bytes: int
    sha256: str
    source: str
    added: str

    def embedding(self) -> NDArray[Any]:
        """The array that was stored.

        Raises:
            StoreError: The clip is audio, or its file is gone or damaged.
        """
        if self.kind != "embedding":
            raise StoreError("the clip is kept as audio, not as an embedding", where=self.id)
        return read_embedding(self.path, self.sha256)


def read_embedding(path: Path, sha256: str) -> NDArray[Any]:
    """The array of a ``.npy`` file.

    Raises:
        StoreError: It cannot be read, is not the one of that digest, or holds something else than finite numbers.
    """
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise ValueError("it is not what was stored, its SHA-256 digest differs")
            file.seek(0)
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, fortran, kind = read_header[version](file)
            # Before anything is made of it: a damaged header may promise terabytes, or ask for pickles.
            if kind.kind not in "fiu" or math.prod(shape) * kind.itemsize != path.stat().st_size - file.tell():
                raise ValueError(f"it should be {kind} of shape {shape}, which the file does not hold")
            flat = np.frombuffer(file.read(), dtype=kind) if math.prod(shape) else np.empty(0, dtype=kind)
        array: NDArray[Any] = flat.reshape(shape, order="F" if fortran else "C")
        if not np.isfinite(array).all():
            raise ValueError("it holds NaN or infinite numbers")
    except Exception as error:  # numpy parses the header as Python, and anything may come of a damaged one
        raise StoreError(
            f"the embedding cannot be read: {error}", where=path, fix="Run: audiotag store verify"
        ) from error
    return array.copy()


@brief_repr
@dataclass(frozen=True, slots=True)
class Addition:
    """What became of a clip that was added to a store.

    Attributes:
        stored: Whether it is in the store now.
        evicted: Ids of the clips that are no longer.
        reason: Why, in a few words.
        probability: Chance that the policy gave it.
        operation: Number of this change to the store, counted from 1.
    """

    stored: bool
    evicted: tuple[str, ...]
    reason: str
    probability: float
    operation: int


@brief_repr
@dataclass(frozen=True, slots=True)
class Statistics:
    """How full a store is, and of what.

    Attributes:
        policy: Name of the policy.
        options: Its settings.
        clips: Number of clips stored.
        bytes: Sum of the sizes of their files.
        capacity: Most clips, None where only bytes are bounded.
        capacity_bytes: Most bytes, None where only clips are bounded.
        offers: Number of clips ever offered.
        mids: Identities of the classes.
        names: Display names of the classes.
        observed: int64 (classes,), how often each class was offered or observed.
        stored: int64 (classes,), how many stored clips carry each class.
    """

    policy: str
    options: dict[str, Any]
    clips: int
    bytes: int
    capacity: int | None
    capacity_bytes: int | None
    offers: int
    mids: tuple[str, ...]
    names: tuple[str, ...]
    observed: NDArray[np.int64]
    stored: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON types, with the distances between what is stored and what was observed."""

        def number(value: NDArray[np.float64]) -> float | None:
            return float(value) if np.isfinite(value) else None

        plain = ("policy", "options", "clips", "bytes", "capacity", "capacity_bytes", "offers")
        return {
            **{name: getattr(self, name) for name in plain},
            "classes_observed": int(np.count_nonzero(self.observed)),
            "classes_retained": int(classes_retained(self.stored)),
            "total_variation_from_observed": number(total_variation(self.stored, self.observed)),
            "kl_stored_from_observed": number(kl_stored_from_observed(self.stored, self.observed)),
            "classes": [
                {"mid": mid, "name": name, "observed": int(observed), "stored": int(stored)}
                for mid, name, observed, stored in zip(self.mids, self.names, self.observed, self.stored, strict=True)
            ],
        }


@brief_repr
@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of a store found.

    Attributes:
        clips: Number of clips in the index.
        bytes: Sum of the sizes of their files, by the index.
        hashed: Whether every file was read and its digest compared.
        problems: What is wrong, empty where nothing is.
        quarantined: Names of files in ``quarantine`` in the store, which no index knew; no problem in themselves.
    """

    clips: int
    bytes: int
    hashed: bool
    problems: tuple[str, ...]
    quarantined: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems
