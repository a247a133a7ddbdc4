"""Fresh networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from audiotag.errors import OptionError, UnknownNameError
from audiotag.host import get_host
from audiotag.host.options import check_options
from audiotag.models.backbone import Backbone
from audiotag.seeding import scoped_torch_rng
from audiotag.specs import BackboneSpec


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
    return build_backbone(host.backbone(name) if isinstance(name, str) else name, num_classes, options, seed=seed)


def build_backbone(
    spec: BackboneSpec, num_classes: int | None, options: Mapping[str, Any], *, seed: int = 0
) -> Backbone:
    """`create_backbone` with the options that somebody has typed or a file holds, which may have any name."""
    host = get_host()
    if num_classes is None:
        num_classes = spec.num_classes
    if num_classes is None:
        raise OptionError("a fresh network needs a number of classes", where=spec.name, fix="Give --num-classes.")
    options = {**spec.options, **options}
    factory = host.resolve(spec)
    check_options(spec, factory, options, given=("num_classes",))
    check_options(spec, factory, {"num_classes": num_classes})
    if num_classes < 1:
        raise OptionError(f"num_classes is {num_classes}", where=spec.name, fix="Give at least 1.")
    with scoped_torch_rng(seed, "parameters"):
        backbone = host.make(spec, num_classes=num_classes, **options)
    if not isinstance(backbone, Backbone):
        raise host.not_a("Backbone", spec, backbone)
    return backbone


def resolved_options(spec: BackboneSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    """*options* with what they leave open: the descriptor's, and the defaults of its factory.

    A default that is no plain value (a class, a function) is left out: it cannot be kept in a file.
    """
    try:
        parameters = inspect.signature(get_host().resolve(spec)).parameters
    except UnknownNameError:  # a network of somebody's own, whose descriptor no plugin registers
        return {**spec.options, **options}
    defaults = {
        name: one.default for name, one in parameters.items() if name != "num_classes" and _is_plain(one.default)
    }
    return {**defaults, **spec.options, **options}


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
