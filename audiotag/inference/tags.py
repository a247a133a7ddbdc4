"""What tagging gives back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiotag.arguments import whole_number
from audiotag.data.clips import Clip
from audiotag.display import Shown, brief_repr, html_table, line
from audiotag.errors import AudiotagError, OptionError, needed_for
from audiotag.inference.pictures import draw_tags
from audiotag.labels import LabelSet

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

DEFAULT_THRESHOLD = 0.5
"""Score from which a class counts as detected where neither the caller nor the model says otherwise."""


@dataclass(frozen=True, eq=False)
class Tags:
    """Classes with their scores, the highest first.

    Attributes:
        labels: Display names.
        mids: Identities of the same classes.
        scores: float32 (tags,), probabilities.
    """

    labels: tuple[str, ...]
    mids: tuple[str, ...]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        """(display name, score) of each tag."""
        return zip(self.labels, self.scores.tolist(), strict=True)

    def __str__(self) -> str:
        return ", ".join(f"{label} {score:.3f}" for label, score in self)

    def __repr__(self) -> str:
        return line(self, *(Shown(f"{label!r:.40} {score:.3f}") for label, score in self))

    def _repr_html_(self) -> str:
        return html_table({"label": self.labels, "mid": self.mids, "score": self.scores})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw them as bars with matplotlib.

        Args:
            ax: What to draw on; None for a new figure of pyplot's, which a notebook shows.

        Returns:
            The axes.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        return draw_tags(self.labels, self.scores, ax)

    def to_frame(self) -> pandas.DataFrame:
        """A DataFrame with the columns ``label``, ``mid`` and ``score``."""
        with needed_for("a DataFrame"):
            import pandas
        return pandas.DataFrame({"label": list(self.labels), "mid": list(self.mids), "score": self.scores})


def select_tags(
    scores: NDArray[np.float32], labels: LabelSet, *, top: int | None = None, threshold: ArrayLike | None = None
) -> Tags:
    """The highest classes of one row of scores.

    Args:
        scores: (classes,).
        labels: Its classes.
        top: How many at most; None for no bound.
        threshold: Least score, one for all classes or (classes,); None for no bound.

    Raises:
        OptionError: *top* or *threshold* cannot be.
    """
    if top is not None:
        top = whole_number("top", top)
    order = np.argsort(-scores, kind="stable")
    if threshold is not None:
        order = order[scores[order] >= per_class_thresholds(threshold, len(labels))[order]]
    chosen = [labels[int(index)] for index in order[:top]]
    return Tags(
        tuple(label.name for label in chosen),
        tuple(label.mid for label in chosen),
        scores[order[:top]].astype(np.float32),
    )


def per_class_thresholds(threshold: ArrayLike, classes: int) -> NDArray[np.float64]:
    """One threshold for each class from one for all, or from one for each.

    Raises:
        OptionError: The number of thresholds does not fit, or one is no number from 0 to 1.
    """
    try:
        values = np.asarray(threshold)
    except ValueError:  # rows of different lengths
        values = np.empty(0, dtype=object)
    if values.dtype.kind not in "fiu":
        raise OptionError(
            f"the threshold is {type(threshold).__name__}, not a number",
            fix=f"Give one number, or a list of {classes} in the order of the classes.",
        )
    values = values.astype(np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise OptionError("a threshold is NaN or lies outside 0 to 1", fix="Give probabilities, from 0 to 1.")
    if values.shape not in ((), (classes,)):
        raise OptionError(
            f"thresholds of shape {values.shape} do not fit {classes} classes",
            fix="Give one number, or one for each class.",
        )
    return np.broadcast_to(values, (classes,))


@brief_repr
@dataclass(frozen=True, eq=False)
class TaggedFile:
    """What became of one recording.

    Attributes:
        clip: The recording, or the part of one.
        seconds: Its length, 0 where it could not be read.
        logits: float32 (classes,), finite; None where it could not be read.
        embedding: float32 (dim,), where embeddings were asked for.
        scores: float32 (classes,), the probability of every class; None where it could not be read.
        tags: Its highest classes; None where it could not be read.
        error: Why it could not be read, or that the network's answer is not finite; None where there are tags.
    """

    clip: Clip
    seconds: float = 0.0
    logits: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None
    tags: Tags | None = None
    error: AudiotagError | None = None

    @property
    def id(self) -> str:
        """The clip's name: the file's name without its ending, or what a manifest calls it."""
        return self.clip.id

    @property
    def path(self) -> Path:
        """The recording."""
        return self.clip.path

    def unwrap(self) -> Tags:
        """The tags.

        Raises:
            AudiotagError: The recording could not be read.
        """
        if self.tags is None:
            raise self.error if self.error is not None else AudiotagError("it was not tagged", where=self.path)
        return self.tags


@brief_repr
@dataclass(frozen=True, eq=False)
class WindowScores:
    """Scores of one window of a recording.

    Attributes:
        onset: Seconds at which it begins.
        offset: Seconds at which it ends, never beyond the end of the recording.
        scores: float32 (classes,), probabilities.
        embedding: float32 (dim,), where embeddings were asked for.
    """

    onset: float
    offset: float
    scores: NDArray[np.float32]
    embedding: NDArray[np.float32] | None = None

    def __iter__(self) -> Iterator[Any]:
        """onset, offset, scores."""
        return iter((self.onset, self.offset, self.scores))

    def widened(self, classes: int) -> WindowScores:
        """It with a score for each of so many classes: 0 for those that began later, which come last."""
        missing = classes - len(self.scores)
        return self if missing <= 0 else replace(self, scores=np.pad(self.scores, (0, missing)))
