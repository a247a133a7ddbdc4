"""Named settings of fine-tuning runs, from TOML files that plugins bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiotag.display import brief_repr
from audiotag.documents import Fields, parse_toml
from audiotag.errors import PluginError
from audiotag.host import get_host
from audiotag.places import exists
from audiotag.settings import layered, read_settings
from audiotag.training.reporting import Reporter
from audiotag.training.settings import Settings


@brief_repr
@dataclass(frozen=True)
class Recipe:
    """What a recipe sets.

    Attributes:
        name: Its name.
        settings: Fields of `Settings`.
        options: Settings of the backbone's family.
        text: The file as it was written, with its comments.
    """

    name: str
    settings: dict[str, Any]
    options: dict[str, Any]
    text: str

    def options_for(self, backbone: str, reporter: Reporter) -> dict[str, Any]:
        """The options, for a backbone of the plugin that brings the recipe; for another's none, and that is told.

        Args:
            backbone: A registered model or family; a checkpoint takes the options as its own family does.
            reporter: Told what is left out.
        """
        host = get_host()
        if not self.options or exists(backbone) or not host.knows_backbone(backbone):
            return dict(self.options)
        if host.owner(host.recipe(self.name)) == host.owner(host.backbone(backbone)):
            return dict(self.options)
        left_out = ", ".join(self.options)
        reporter.message(f"The options of the recipe {self.name} suit another family and are left out: {left_out}.")
        return {}


def load_recipe(name: str) -> Recipe:
    """The recipe called *name*.

    Raises:
        UnknownNameError: No plugin registers it.
        PluginError: Its file is missing or is not TOML.
        OptionError: It sets something that is not a setting.
    """
    host = get_host()
    spec = host.recipe(name)
    text = host.read_file(spec)
    where = f"the recipe {name!r} of the {host.owner(spec).place}"
    fix = "Report it to the plugin's authors."
    content = Fields(parse_toml(text, where=where, error=PluginError, fix=fix), where=where, error=PluginError, fix=fix)
    settings = {key: value for key, value in content.items() if key != "options"}
    Settings.from_dict(settings, where=f"recipe {name}")
    return Recipe(name, settings, dict(content.fields("options", {})), text)


def asked_for(
    backbone: str, recipe: str | None, config: str | Path | None, given: Mapping[str, Any], reporter: Reporter
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that are asked for, later places winning: of a *recipe*, of the file *config*, and those *given*.

    Returns:
        The settings, and the options of the backbone's family, which only a recipe has.

    Raises:
        UnknownNameError: No plugin registers the recipe.
        OptionError: The file cannot be read.
    """
    chosen = None if recipe is None else load_recipe(recipe)
    of_recipe, of_file = chosen.settings if chosen else {}, read_settings(config) if config else {}
    options = chosen.options_for(backbone, reporter) if chosen else {}
    return layered(Settings, of_recipe, of_file, given), options
