"""What the commands have in common: help in groups, and what was perhaps meant by an unknown name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from audiotag.cli.command import Command
from audiotag.cli.habits import OPTION_HABITS, VERB_HABITS
from audiotag.cli.main import VERBS, main
from audiotag.cli.options import option, settings_options
from audiotag.errors import OptionError
from audiotag.settings import SettingsGroup, setting, varied


class Heat(SettingsGroup):
    """How hot."""

    TITLE = "Heating"

    degrees: float = setting(180.0, help="How hot.")


class Oven(Heat):
    """An oven."""

    TITLE = "The oven"

    minutes: int = setting(30, help="How long.")


class Grill(SettingsGroup):
    """A grill."""

    TITLE = "The grill"

    degrees: float = varied(Heat, "degrees", default=250.0)


def help_of(*words: str, command: click.Command = main) -> str:
    done = CliRunner().invoke(command, words, prog_name="audiotag")
    assert done.exit_code == 0, done.output
    return done.output


@click.command(cls=Command, first="--minutes --output")
@option("--output", group="Results", help="Where to.")
@settings_options(Oven)
@option("--quiet", is_flag=True, help="Say nothing.")
def bake(**values: object) -> None:
    """Bake."""


def test_help_shows_what_matters_and_help_all_every_option_in_its_group() -> None:
    short = help_of("--help", command=bake)
    assert short.index("Main options:") < short.index("--minutes N") < short.index("--output")
    assert "--degrees" not in short and "Show all 4 options" in short
    every = help_of("--help-all", command=bake)
    headings = ["Results:", "--output", "Heating:", "--degrees", "The oven:", "--minutes", "Other:", "--quiet", "Help:"]
    assert sorted(headings, key=every.index) == headings


def test_a_setting_that_is_varied_stays_in_its_group() -> None:
    @click.command(cls=Command, first="--degrees")
    @settings_options(Grill)
    def grill(**values: object) -> None:
        pass

    assert "Heating:\n  --degrees" in help_of("--help-all", command=grill)


@pytest.mark.parametrize("verb", ["infer", "finetune", "evaluate", "compare", "online"])
def test_long_verbs_show_a_dozen_and_no_option_is_without_a_group(verb: str) -> None:
    assert 10 <= help_of(verb, "--help").partition("Help:")[0].count("\n  --") <= 16
    every = help_of(verb, "--help-all")
    command = main.get_command(click.Context(main), verb)
    assert command is not None and "Other:" not in every
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or f"  {parameter.opts[0]}" in every


def test_the_main_help_has_every_verb_under_a_heading() -> None:
    said = help_of("--help")
    assert [line.split()[0] for line in said.partition("Tag:")[2].splitlines() if line.startswith("  ")] == list(VERBS)


def refused(*words: str) -> str:
    done = CliRunner().invoke(main, words, prog_name="audiotag")
    assert done.exit_code == 2
    return done.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("finetune --lr 1", "No such option '--lr'. Did you mean '--learning-rate'?"),
        ("finetune --model mn", "No such option '--model'. Did you mean '--backbone'?"),
        ("evaluate --backbone mn", "No such option '--backbone'. Did you mean '--model'?"),
        ("finetune --bs 4", "No such option '--bs'. Did you mean '--batch-size'?"),
        ("finetune --learning_rate 1", "No such option '--learning_rate'. Did you mean '--learning-rate'?"),
        ("infer a.wav -o b.csv", "No such option '-o'. Did you mean '--output'?"),
        ("infer -i a.wav", "No such option '-i'. Did you mean 'PATH... without an option'?"),
        ("infer a.wav --devce cpu", "No such option '--devce'. Did you mean '--device'?"),
        ("infer a.wav --lr 1", "No such option '--lr'."),
        ("train", "No such command 'train'. Did you mean 'audiotag finetune'?"),
        ("predict", "No such command 'predict'. Did you mean 'audiotag infer'?"),
        ("evalute", "No such command 'evalute'. Did you mean 'audiotag evaluate'?"),
        ("models ls", "No such command 'ls'. Did you mean 'audiotag models list'?"),
        ("help", "No such command 'help'. Did you mean 'audiotag --help'?"),
        ("xylophone", "No such command 'xylophone'."),
    ],
)
def test_near_misses_and_habits_are_answered_with_our_names(words: str, said: str) -> None:
    assert refused(*words.split()) == f"Error: {said}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("finetune --learning-rate nan", "--learning-rate is nan. Give a number above 0"),
        ("finetune --betas 0.9 2", "--betas is (0.9, 2.0). Give 0 or more"),
        ("finetune --optimiser lion", "--optimiser is 'lion'. Give one of: adamw"),
        ("finetune --final-lr -1", "--final-lr is -1.0. Give 0 or more"),
        ("compare --output out --epochs 0", "--epochs is 0. Give 1 or more"),
        ("online --steps -1", "--steps is -1. Give 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_else_as_the_command_line_spells_them(
    words: str, said: str
) -> None:
    with pytest.raises(OptionError) as refusal:
        CliRunner().invoke(main, words.split(), prog_name="audiotag", catch_exceptions=False)
    assert str(refusal.value).startswith(said)


def test_a_recording_in_the_place_of_a_verb_is_to_be_tagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clip.wav").touch()
    assert refused("clip.wav") == "Error: No such command 'clip.wav'. Did you mean 'audiotag infer clip.wav'?"


def test_every_habit_leads_to_something_that_exists() -> None:
    context = click.Context(main)
    verbs = {verb: main.get_command(context, verb) for verb in VERBS if verb != "x"}
    commands = [*verbs.values()]
    commands += [one for verb in verbs.values() if isinstance(verb, click.Group) for one in verb.commands.values()]
    params = [parameter for one in (main, *filter(None, commands)) for parameter in one.get_params(context)]
    known = {name for one in params for name in (*one.opts, one.metavar)}
    assert {ours for habits in OPTION_HABITS.values() for ours in habits} <= known
    names = {*verbs, *(str(one.name) for one in commands if one)}
    first = {ours.split()[0] for habits in VERB_HABITS.values() for ours in habits}
    assert first <= names | {"--help", "--version"}


def completed(*words: str) -> tuple[list[str], str]:
    """What bash is offered for the last of *words*, and the heavy modules that were imported."""
    program = (
        "import atexit, sys; from audiotag.cli.main import main\n"
        "atexit.register(lambda: print('heavy', {'numpy', 'torch'} & {*sys.modules}, file=sys.stderr))\n"
        "main(prog_name='audiotag', standalone_mode=False)"
    )
    asked = {
        "COMP_WORDS": " ".join(["audiotag", *words]),
        "COMP_CWORD": str(len(words)),
        "_AUDIOTAG_COMPLETE": "bash_complete",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["fine"], ["plain,finetune"]),
        (["finetune", "--learn"], ["plain,--learning-rate"]),
        (["infer", "--model", "home1"], ["plain,home10"]),
        (["finetune", "--loss", "b"], ["plain,bce"]),
        (["finetune", "--sampler", "shuf"], ["plain,shuffle"]),
        (["finetune", "--sampler", "fif"], []),
        (["store", "init", "--policy", "fif"], ["plain,fifo"]),
        (["finetune", "--labels", "hom"], ["plain,home"]),
        (["evaluate", "--ensemble", "a,home1"], ["plain,a,home10"]),
        (["evaluate", "--format", "cs"], ["plain,csv"]),
        (["infer", "--format", "audac"], ["plain,audacity"]),
        (["models", "info", "home1"], ["plain,home10"]),
        (["finetune", "--precision", "bf"], ["plain,bf16-mixed"]),
        (["finetune", "--train", "lists/"], ["file,lists/"]),
        (["infer", "clips/"], ["file,clips/"]),
    ],
)
def test_the_shell_completes_names_from_the_registries_without_torch(words: list[str], offered: list[str]) -> None:
    assert completed(*words) == (offered, "heavy set()\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_each_shell_asks_the_program(shell: str) -> None:
    assert f"_AUDIOTAG_COMPLETE={shell}_complete" in help_of("completion", shell)
