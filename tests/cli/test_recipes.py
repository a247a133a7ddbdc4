"""``audiotag recipes`` and recipes that plugins bring."""

import json

import pytest
from click.testing import CliRunner

from audiotag.cli.recipes import recipes
from audiotag.errors import OptionError, PluginError, UnknownNameError
from audiotag.training.recipes import load_recipe

PLUGIN = """
from audiotag.plugin import RecipeSpec, hookimpl

@hookimpl
def register_recipes():
    return [
        RecipeSpec(name="mine", path="mine_recipes:mine.toml", summary="Mine", citation="Me, 2026"),
        RecipeSpec(name="wrong", path="mine_recipes:wrong.toml"),
        RecipeSpec(name="gone", path="mine_recipes:gone.toml"),
    ]
"""


@pytest.fixture
def mine(install_plugin, plugin_folder):
    package = plugin_folder / "mine_recipes"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.toml").write_text("# why\nepochs = 3\n\n[options]\nwidth = 2\n")
    (package / "wrong.toml").write_text("epoch = 3\n")
    install_plugin("audiotag-mine", PLUGIN)


def test_a_recipe_has_settings_and_options(mine):
    recipe = load_recipe("mine")
    assert (recipe.settings, recipe.options) == ({"epochs": 3}, {"width": 2})


def test_recipes_are_listed_and_shown_with_their_comments(mine):
    assert "mine" in CliRunner().invoke(recipes, ["list"]).output
    listed = json.loads(CliRunner().invoke(recipes, ["list", "--json"]).output)
    assert {"name": "mine", "summary": "Mine", "citation": "Me, 2026"} in listed
    shown = CliRunner().invoke(recipes, ["show", "mine"]).output
    assert "# Me, 2026" in shown
    assert "# why" in shown


def test_a_recipe_with_an_unknown_setting_is_refused(mine):
    with pytest.raises(OptionError, match="epochs"):
        load_recipe("wrong")


def test_a_recipe_whose_file_is_gone_names_the_plugin(mine):
    with pytest.raises(PluginError, match="audiotag-mine"):
        load_recipe("gone")


def test_an_unknown_recipe_is_answered_with_a_close_one(mine):
    with pytest.raises(UnknownNameError, match="mine"):
        load_recipe("mien")
