"""All checks, in the order in which they are run and listed."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from audiotag.testing.check import KINDS, REGISTERED, Check

_MODULES = (
    "plugins",
    "descriptors",
    "backbones",
    "backbone_inputs",
    "backbone_heads",
    "losses",
    "samplers",
    "stores",
    "datasets",
    "published_datasets",
    "augmentations",
    "optimisers",
    "metrics",
    "writers",
    "commands",
)


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check there is, by kind."""
    for module in _MODULES:
        import_module(f"audiotag.testing.{module}")
    return tuple(check for kind in KINDS for check in REGISTERED if check.kind == kind)
