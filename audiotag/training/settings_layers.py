"""Settings from files, and from several places one over the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from audiotag import documents
from audiotag.errors import OptionError
from audiotag.files import write_text
from audiotag.training.schedules import SHAPES

_OPTIONS_OF = {"sampler": "sampler_options", "loss": "loss_options"}


def layered(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from several places (a recipe, a file, the command line), later ones winning.

    Options of the sampler and the loss win one by one. Where a later place chooses another sampler, loss or schedule,
    what belonged to the earlier one goes with it.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, shape in (
            *((owner, (options,)) for owner, options in _OPTIONS_OF.items()),
            ("schedule", ("warmup", *SHAPES.get(str(merged.get("schedule")), ()))),
        ):
            if name in merged and layer.get(name, merged[name]) != merged[name]:
                merged = {key: value for key, value in merged.items() if key not in shape}
        options = {name: {**merged.get(name, {}), **layer[name]} for name in _OPTIONS_OF.values() if name in layer}
        merged |= {**layer, **options}
    return merged


def read_toml(path: str | Path) -> dict[str, Any]:
    """Settings from a TOML file, not yet checked.

    Raises:
        OptionError: The file is missing or not TOML.
    """
    return documents.read_toml(path, error=OptionError, fix="Settings stand in a TOML file, as name = value.")


def write_toml(values: Mapping[str, Any], path: str | Path) -> None:
    """Write plain settings as TOML; ``None`` values are left out."""
    kept = {name: value for name, value in values.items() if value is not None}
    write_text(path, tomli_w.dumps(kept))
