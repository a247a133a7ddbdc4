"""What somebody says that an event was, after it was heard."""

from __future__ import annotations

from collections.abc import Callable

from audiotag.documents import Fields

Learn = Callable[[str, "str | list[str] | None"], None]
"""Takes the id of an event and its classes, as `audiotag.live.learning.LiveLearner.learn` does."""


def take_answer(answer: Fields, learn: Learn) -> None:
    """Hand on ``{"id": EVENT, "labels": [NAME, …]}``; labels may also be one text, or null to take them back.

    Raises:
        AudiotagError: It is no such answer, or *learn* refuses it.
    """
    labels = answer["labels"] if "labels" in answer else answer.texts("labels")
    if not (labels is None or isinstance(labels, str)):
        labels = answer.texts("labels")
    learn(answer.text("id"), labels)
