"""What something on disk needs of plugins, and what to do where they are gone: in the same words for all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiotag.errors import AudiotagError, NameTakenError, UnknownNameError
from audiotag.host.host import Host, get_host
from audiotag.specs import (
    AugmentationSpec,
    BackboneSpec,
    DatasetSpec,
    LossSpec,
    MetricSpec,
    OptimiserSpec,
    SamplingPolicySpec,
    ScheduleSpec,
    Spec,
)

KINDS: Mapping[str, type[Spec]] = {
    "model": BackboneSpec,
    "dataset": DatasetSpec,
    "loss": LossSpec,
    "sampling policy": SamplingPolicySpec,
    "augmentation": AugmentationSpec,
    "optimiser": OptimiserSpec,
    "schedule": ScheduleSpec,
    "metric": MetricSpec,
}
"""Kinds of things that can be needed, as messages name them, and their descriptors."""


def needed(
    what: str,
    kind: str,
    name: str,
    *,
    distribution: str,
    release: str = "",
    error: type[AudiotagError],
    where: object = None,
    until: str = "",
) -> Any:
    """The descriptor of something that a checkpoint, a run, a store or a prepared data set was made with.

    Where several plugins have the name, that of *distribution* is meant.

    Args:
        what: What needs it (``"the checkpoint"``).
        kind: One of `KINDS`.
        name: Its name.
        distribution: Who brought it then; empty where nobody knows.
        release: The version of *distribution* then; empty where nobody knows.
        error: What to raise.
        where: The file or folder.
        until: What can be done without it, as a sentence.

    Raises:
        AudiotagError: As *error*: nobody registers the name, or several do; it says what to install.
    """
    host = get_host()
    spec = KINDS[kind]
    try:
        qualified = f"{distribution}:{name}"
        return host.get(spec, qualified if qualified in host.registry(spec) else name)
    except (UnknownNameError, NameTakenError) as cause:
        brought = f" of {distribution} {release}".rstrip() if distribution else ""
        steps = [] if isinstance(cause, NameTakenError) else [_install(host, distribution, release)]
        raise error(
            f"{what} needs the {kind} {name!r}{brought}: {cause.what}",
            where=where,
            fix=" ".join(step for step in (*steps, until, cause.fix) if step),
        ) from cause


def requirement(distribution: str, release: str) -> str:
    """What to hand to pip, for a shell."""
    return f"'{distribution}=={release}'" if release else distribution


def _install(host: Host, distribution: str, release: str) -> str:
    if not distribution:
        return "Install the plugin that brings it."
    for record in host.plugins:
        if record.distribution == distribution and release in ("", record.version) and record.status != "loaded":
            why = record.problems[0] if record.status == "skipped" else "it fails to load"
            return f"{record.label} is installed, but {why} (see `audiotag plugins list`)."
    return f"Run: pip install {requirement(distribution, release)}."
