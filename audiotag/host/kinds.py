"""The kinds of things that plugins bring, a line each: a new one needs that, its descriptor and its hook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from audiotag.specs import (
    BackboneSpec,
    CommandSpec,
    DatasetSpec,
    LossSpec,
    MetricSpec,
    OptimiserSpec,
    RecipeSpec,
    SamplingPolicySpec,
    ScheduleSpec,
    Spec,
    WriterSpec,
)


@dataclass(frozen=True)
class Kind:
    """One kind of descriptor.

    Attributes:
        name: What records and `audiotag plugins list --json` call it, and behind ``register_`` the hook.
        spec: The class of its descriptors.
        one: A thing of this kind, as messages call it.
        several: Several of them.
        listing: The command that shows all there are.
    """

    name: str
    spec: type[Spec]
    one: str
    several: str
    listing: str = "audiotag plugins list"

    @property
    def hook(self) -> str:
        """The hook that gives its descriptors."""
        return f"register_{self.name}"


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("backbones", BackboneSpec, "model", "models", "audiotag models list"),
        Kind("datasets", DatasetSpec, "dataset format", "dataset formats", "audiotag data list"),
        Kind("losses", LossSpec, "loss", "losses"),
        Kind("sampling_policies", SamplingPolicySpec, "sampling policy", "sampling policies"),
        Kind("optimisers", OptimiserSpec, "optimiser", "optimisers"),
        Kind("schedules", ScheduleSpec, "schedule", "schedules"),
        Kind("metrics", MetricSpec, "metric", "metrics"),
        Kind("writers", WriterSpec, "output format", "output formats"),
        Kind("commands", CommandSpec, "command", "commands"),
        Kind("recipes", RecipeSpec, "recipe", "recipes", "audiotag recipes list"),
    )
}
"""Name → kind, in the order in which plugins are listed."""

HOOKS: Mapping[str, Kind] = {kind.hook: kind for kind in KINDS.values()}
"""Hook → kind."""


def kind_of(spec: Spec | type[Spec]) -> Kind:
    """The kind of a descriptor, or of its class."""
    kind = spec if isinstance(spec, type) else type(spec)
    return next(one for one in KINDS.values() if issubclass(kind, one.spec))
