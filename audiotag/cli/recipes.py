"""``audiotag recipes``: named settings for fine-tuning."""

from __future__ import annotations

import click

from audiotag.cli.command import Group
from audiotag.cli.completion import names_of
from audiotag.cli.options import echo_json, json_option
from audiotag.cli.printing import print_columns, warn_failed_plugins


@click.group(cls=Group, short_help="Named settings for fine-tuning.")
def recipes() -> None:
    """Named settings for `audiotag finetune --recipe NAME`."""


@recipes.command("list")
@json_option
def list_recipes(as_json: bool) -> None:
    """List the recipes that the installed plugins bring."""
    from audiotag.host import get_host

    warn_failed_plugins()
    if as_json:
        specs = get_host().recipes.values()
        echo_json([{"name": one.name, "summary": one.summary, "citation": one.citation} for one in specs])
        return
    rows = [(spec.name, spec.summary) for spec in get_host().recipes.values()]
    if not rows:
        click.echo("No installed plugin brings a recipe.")
        return
    print_columns(("NAME", "WHAT IT IS"), rows)


@recipes.command("show")
@click.argument("name", shell_complete=names_of("recipes"))
def show(name: str) -> None:
    """Print a recipe as TOML, ready for --config."""
    from audiotag.host import get_host
    from audiotag.training.recipes import load_recipe

    warn_failed_plugins()
    recipe = load_recipe(name)
    citation = get_host().recipe(name).citation
    if citation:
        click.echo(f"# {citation}")
    click.echo(recipe.text.rstrip())
