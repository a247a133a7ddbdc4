"""The kinds of things that plugins bring, a line each: a new one needs that, its descriptor and its hook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from audiotag import specs


@dataclass(frozen=True)
class Kind:
    """One kind of descriptor.

    Attributes:
        name: What records and `audiotag plugins list --json` call it, and behind ``register_`` the hook.
        spec: The class of its descriptors.
        one: A thing of this kind, as messages call it.
        several: Several of them.
        listing: The command that shows all there are.
        roles: Where those of each role are checked on their own: role → what the checks call such a one.
    """

    name: str
    spec: type[specs.Spec]
    one: str
    several: str
    listing: str = "audiotag plugins list"
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def hook(self) -> str:
        """The hook that gives its descriptors."""
        return f"register_{self.name}"

    @property
    def sorts(self) -> tuple[str, ...]:
        """What the checks of `audiotag plugins check` and its ``--kind`` call a thing of this kind."""
        return tuple(self.roles.values()) or (self.spec.__name__.removesuffix("Spec").lower(),)


_ROLES = {"training": "sampler", "storage": "store"}

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("backbones", specs.BackboneSpec, "model", "models", "audiotag models list"),
        Kind("datasets", specs.DatasetSpec, "dataset format", "dataset formats", "audiotag data list"),
        Kind("losses", specs.LossSpec, "loss", "losses"),
        Kind("sampling_policies", specs.SamplingPolicySpec, "sampling policy", "sampling policies", roles=_ROLES),
        Kind("augmentations", specs.AugmentationSpec, "augmentation", "augmentations"),
        Kind("optimisers", specs.OptimiserSpec, "optimiser", "optimisers"),
        Kind("schedules", specs.ScheduleSpec, "schedule", "schedules"),
        Kind("metrics", specs.MetricSpec, "metric", "metrics"),
        Kind("writers", specs.WriterSpec, "output format", "output formats"),
        Kind("outputs", specs.OutputSpec, "live output", "live outputs"),
        Kind("sources", specs.SourceSpec, "source of sound", "sources of sound"),
        Kind("commands", specs.CommandSpec, "command", "commands"),
        Kind("recipes", specs.RecipeSpec, "recipe", "recipes", "audiotag recipes list"),
    )
}
"""Name → kind, in the order in which plugins are listed."""

HOOKS: Mapping[str, Kind] = {kind.hook: kind for kind in KINDS.values()}
"""Hook → kind."""

SORTS = tuple(sort for kind in KINDS.values() for sort in kind.sorts)
"""All that checks tell apart, by the names of `Kind.sorts`."""


def kind_of(spec: specs.Spec | type[specs.Spec]) -> Kind:
    """The kind of a descriptor, or of its class."""
    kind = spec if isinstance(spec, type) else type(spec)
    return next(one for one in KINDS.values() if issubclass(kind, one.spec))


def sort_of(spec: specs.Spec) -> str:
    """What the checks call the thing that a descriptor stands for; one of `SORTS`."""
    kind = kind_of(spec)
    return kind.roles[vars(spec)["role"]] if kind.roles else kind.sorts[0]
