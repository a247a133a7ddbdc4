"""Checks of commands and recipes."""

from __future__ import annotations

import inspect

import click

from audiotag.host import get_host
from audiotag.host.options import wrongly_typed
from audiotag.testing.check import check, require, skip
from audiotag.testing.subjects import Subject
from audiotag.testing.traces import recorded_output
from audiotag.training.recipes import load_recipe


@check("command")
def it_is_a_click_command(subject: Subject) -> None:
    """The factory names a ``click.Command`` itself."""
    command = subject.factory
    kind = type(command).__name__
    require(isinstance(command, click.Command), f"{subject.spec.factory!r} is a {kind}, not a click.Command")


@check("command")
def it_has_help(subject: Subject) -> None:
    """``--help`` works, says what the command does, and explains every option."""
    command: click.Command = subject.factory
    with recorded_output() as printed:
        context = click.Context(command, info_name=subject.name)
        text = command.get_help(context)
        output = printed()
    require(not output, f"making its help prints {output[:100]!r}")
    require(bool(command.help) and bool(text.strip()), "the command has no docstring")
    silent = [
        option.opts[0]
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and not option.help
    ]
    require(not silent, f"the options {', '.join(silent)} have no help")


@check("recipe")
def the_recipe_can_be_read(subject: Subject) -> None:
    """Its file is there, is TOML, and sets what ``audiotag finetune`` knows."""
    load_recipe(subject.name)


@check("recipe")
def its_options_are_taken_by_a_family(subject: Subject) -> None:
    """Its table of options fits at least one registered family of backbones."""
    options = load_recipe(subject.name).options
    if not options:
        skip("it sets no options of a backbone")
    host = get_host()
    for spec in host.backbones.values():
        if spec.family == spec.name:
            factory = host.resolve(spec)
            if set(options) <= set(inspect.signature(factory).parameters) and wrongly_typed(factory, options) is None:
                return
    require(False, f"no registered family takes the options {', '.join(options)}")
