"""Fresh networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from audiotag.errors import OptionError, PluginError, suggest
from audiotag.host import get_host
from audiotag.models.backbone import Backbone
from audiotag.models.options import wrongly_typed
from audiotag.plugin import BackboneSpec, LossSpec, SamplingPolicySpec
from audiotag.seeding import scoped_torch_rng


def create_backbone(
    name: str | BackboneSpec, num_classes: int | None = None, *, seed: int = 0, **options: Any
) -> Backbone:
    """Make a network with fresh parameters.

    Args:
        name: A family (``"mn"``), or a published model (``"mn10_as"``), whose options are then the defaults; its
            weights are not loaded.
        num_classes: Size of the head, ≥ 1; None takes the published size.
        seed: Seed of the initial parameters.
        options: Settings of the family (``width_mult=0.4``).

    Raises:
        UnknownNameError: There is no such backbone.
        OptionError: An option is unknown to the family or has an impossible value, or *num_classes* is missing.
        PluginError: The plugin's factory returned something else than a `Backbone`.
    """
    host = get_host()
    spec = name if isinstance(name, BackboneSpec) else host.backbone(str(name))
    if num_classes is None:
        num_classes = spec.num_classes
    if num_classes is None:
        raise OptionError("a fresh network needs a number of classes", where=spec.name, fix="Give num_classes.")
    factory = host.resolve(spec)
    merged = {**spec.options, **options, "num_classes": num_classes}
    check_options(spec, factory, merged)
    if num_classes < 1:
        raise OptionError(f"num_classes is {num_classes}", where=spec.name, fix="Give at least 1.")
    with scoped_torch_rng(seed, "parameters"):
        backbone = factory(**merged)
    if not isinstance(backbone, Backbone):
        raise PluginError(
            f"the factory {spec.factory!r} returned {type(backbone).__name__}, not a Backbone",
            where=host.owner(spec).label,
        )
    return backbone


def check_options(
    spec: BackboneSpec | LossSpec | SamplingPolicySpec, factory: Callable[..., Any], options: dict[str, Any]
) -> None:
    """Refuse options that the *factory* of *spec* does not take, or not with values of these types.

    Raises:
        OptionError: With close matches and the list of options, or with the type that it takes.
    """
    parameters = inspect.signature(factory).parameters
    wrong = wrongly_typed(factory, options)
    if wrong is not None:
        option, description = wrong
        raise OptionError(f"the option {option!r} is {options[option]!r}", where=spec.name, fix=f"Give {description}.")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [option for option in parameters if option != "num_classes"]
    for option in options:
        if option not in parameters:
            advice = suggest(option, known) or ""
            raise OptionError(
                f"there is no option {option!r}",
                where=spec.name,
                fix=f"{advice} The options are: {', '.join(known)}.".strip(),
            )
