"""Metrics by their registered names: the core's and those of plugins, computed in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from numpy.typing import ArrayLike

from audiotag.errors import OptionError
from audiotag.evaluation.measurement import Measurement
from audiotag.host import get_host

M = TypeVar("M", bound=Measurement)


def require_metrics(names: Sequence[str]) -> None:
    """Refuse names of metrics that nobody registers, before anything is computed.

    Raises:
        UnknownNameError: With close matches.
    """
    for name in names:
        get_host().metric(name)


def measure(
    name: str, targets: ArrayLike, scores: ArrayLike, known: ArrayLike | None = None, *, single_label: bool
) -> float:
    """The metric called *name* of scores against targets; more is better.

    Args:
        name: Its registered name.
        targets: (clips, classes) of zeros and ones.
        scores: (clips, classes).
        known: bool (clips, classes), which labels are known; None where all are.
        single_label: Whether each clip has exactly one class.

    Raises:
        UnknownNameError: Nobody registers it.
        OptionError: It is for the other kind of data.
        PluginError: It fails.
    """
    host = get_host()
    spec = host.metric(name)
    task = "singlelabel" if single_label else "multilabel"
    if spec.task not in ("any", task):
        kind = "one class" if spec.task == "singlelabel" else "several labels"
        raise OptionError(f"the metric {name!r} is for clips with {kind} each", fix="Choose another, mAP for one.")
    function = host.resolve(spec)
    with host.running(spec, f"computing {name!r}"):
        return float(function(targets, scores, known))


def with_metrics(result: M, names: Sequence[str]) -> M:
    """*result* with more numbers in its summary: the registered metrics *names*; see `measure` for errors."""
    parts = result.targets, result.scores, result.known
    more = {name: measure(name, *parts, single_label=result.single_label) for name in names}
    return replace(result, summary={**result.summary, **more})
