import json
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.errors import NameTakenError, PluginError, UnknownNameError

KITCHEN = """
from audiotag.plugin import CommandSpec, LossSpec, hookimpl

@hookimpl
def register_losses():
    return [LossSpec(name=f"loss_{index}", factory="math:sqrt") for index in range(7)]

@hookimpl
def register_commands():
    return [
        CommandSpec(group="kitchen", name="bake", factory="kitchen_commands:bake", summary="Bake a cake."),
        CommandSpec(group="kitchen", name="fry", factory="kitchen_commands:NOTHING", summary="Fry an egg."),
        CommandSpec(group="kitchen", name="boil", factory="kitchen_commands:boil", summary="Boil water."),
    ]
"""

COMMANDS = '''
import click

@click.command()
@click.option("--degrees", default=180)
def bake(degrees):
    """Bake a cake at some degrees."""
    click.echo(f"baked at {degrees}")

def boil():
    return 100
'''


@pytest.fixture
def audiotag(install_plugin):
    def run(*arguments):
        result = CliRunner().invoke(main, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def kitchen(install_plugin, plugin_folder):
    install_plugin("audiotag-kitchen", KITCHEN, entry="kitchen", version="2.0")
    (plugin_folder / "kitchen_commands.py").write_text(COMMANDS)


def test_the_list_tells_what_each_plugin_brings(audiotag, kitchen):
    lines = audiotag("plugins", "list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "DISTRIBUTION", "VERSION", "STATUS", "PROVIDES"]
    assert lines[1].split()[:4] == ["builtin", "audiotag", version("audiotag"), "loaded"]
    line = next(line for line in lines if line.startswith("kitchen"))
    assert line.split()[:4] == ["kitchen", "audiotag-kitchen", "2.0", "loaded"]
    text = " ".join(word for line in lines for word in line.split())
    assert "loaded 7 losses, 3 commands (bake, fry, boil)" in text


def test_one_thing_is_told_of_in_the_singular(audiotag, install_plugin):
    source = "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\ndef register_losses():\n"
    install_plugin("audiotag-one", f"{source}    return [LossSpec(name='sole', factory='math:sqrt')]", entry="one")
    assert "1 loss (sole)" in " ".join(audiotag("plugins", "list").stdout.split())


def test_problems_stand_below_the_table(audiotag, install_plugin):
    install_plugin("audiotag-broken", "raise RuntimeError('torn [red] pages')", entry="broken")
    output = audiotag("plugins", "list").stdout
    assert "failed" in next(line for line in output.splitlines() if line.startswith("broken  "))
    assert output.splitlines()[-1].startswith(
        "broken (audiotag-broken 1.0): RuntimeError: torn [red] pages. Upgrade it"
    )


def test_the_list_is_json_on_request(audiotag, kitchen):
    records = {record["name"]: record for record in json.loads(audiotag("plugins", "list", "--json").stdout)}
    assert records["kitchen"]["status"] == "loaded"
    assert len(records["kitchen"]["provides"]["losses"]) == 7
    assert records["builtin"]["distribution"] == "audiotag"


def test_commands_of_plugins_run_below_x(audiotag, kitchen):
    assert audiotag("x", "kitchen", "bake", "--degrees", "200").stdout == "baked at 200\n"
    assert "Bake a cake at some degrees." in audiotag("x", "kitchen", "bake", "--help").stdout


def test_help_lists_groups_and_commands(audiotag, kitchen):
    groups = audiotag("x", "--help").stdout
    assert "kitchen" in groups and "of audiotag-kitchen 2.0" in groups
    commands = audiotag("x", "kitchen", "--help").stdout
    for name, summary in (("bake", "Bake a cake."), ("fry", "Fry an egg.")):
        assert any(line.split(maxsplit=1) == [name, summary] for line in commands.splitlines())


def test_unknown_commands_get_close_matches(audiotag, kitchen):
    with pytest.raises(UnknownNameError, match=r"called 'kitchn'\. Did you mean 'kitchen'\?"):
        audiotag("x", "kitchn", "bake")
    with pytest.raises(UnknownNameError, match=r"'audiotag x kitchen' called 'backe'\. Did you mean 'bake'\?"):
        audiotag("x", "kitchen", "backe")


def test_a_command_that_two_plugins_claim_names_both(audiotag, kitchen, install_plugin):
    source = (
        "from audiotag.plugin import CommandSpec, hookimpl\n@hookimpl\ndef register_commands():\n"
        "    return [CommandSpec(name='bake', group='kitchen', factory='math:sqrt')]"
    )
    install_plugin("audiotag-rival", source, entry="rival")
    with pytest.raises(
        NameTakenError, match=r"'kitchen bake' is registered by audiotag-kitchen 2\.0 and audiotag-rival"
    ):
        audiotag("x", "kitchen", "bake")
    assert "rival" in audiotag("x", "kitchen", "--help").output


def test_broken_commands_name_the_plugin(audiotag, kitchen):
    with pytest.raises(PluginError, match=r"audiotag-kitchen 2\.0: .*cannot be imported"):
        audiotag("x", "kitchen", "fry")
    with pytest.raises(PluginError, match=r"audiotag-kitchen 2\.0: .*is a function, not a click command"):
        audiotag("x", "kitchen", "boil")
