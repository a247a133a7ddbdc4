"""A setting is declared once: its checks, option, help, file and table follow."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from audiotag.cli.options import given_settings, settings_options
from audiotag.errors import OptionError
from audiotag.settings import Range, SettingsGroup, declared, layered, read_settings, setting, varied, write_settings


class Oven(SettingsGroup):
    """Heat."""

    WHERE = "the oven"

    degrees: float = setting(200.0, range=Range(50, 300), help="How hot it is.")
    fan: bool = setting(False, help="Whether air moves.")
    programme: Literal["bread", "cake"] = setting("bread", help="What it is for.")
    minutes: int = setting(
        by=lambda s, run: run.dough * (2 if s.programme == "cake" else 1), usual="as the dough wants", help="How long."
    )

    def check(self, situation: Any) -> None:
        """Refuse burnt bread."""
        if self.minutes > 100:
            raise OptionError(f"{self.minutes} minutes burn it", where=self.WHERE)


class Kitchen(Oven):
    """Heat, and more."""

    fan: bool = varied(Oven, "fan", default=True)
    cook: str = setting("anna", choices=lambda: ("anna", "otto"), help="Who cooks.")
    cook_options: Mapping[str, Any] = setting({}, of="cook", option="--cook-option", help="Option of the cook.")
    shelves: tuple[int, int] = setting((1, 3), range=Range(1, 5), help="Which shelves.")


@click.command()
@settings_options(Kitchen)
def bake(**settings: Any) -> None:
    click.echo(repr(Kitchen.from_dict(given_settings(settings), "the command line")))


def run(*arguments: str) -> str:
    return CliRunner().invoke(bake, arguments, catch_exceptions=False).output


def test_options_and_help_follow():
    text = " ".join(run("--help").split())
    assert "--degrees NUMBER How hot it is. [default: 200]" in text
    assert "--fan / --no-fan Whether air moves." in text
    assert "--programme [bread|cake] What it is for. [default: bread]" in text
    assert "--minutes N How long. [default: as the dough wants]" in text
    assert "--cook-option KEY=VALUE Option of the cook." in text
    assert "--shelves NUMBER NUMBER Which shelves. [default: 1 3]" in text


def test_what_is_given_becomes_settings():
    assert run("--degrees", "180", "--no-fan", "--cook-option", "salt=2", "--shelves", "2", "4").strip() == repr(
        Kitchen(degrees=180.0, fan=False, cook_options={"salt": 2}, shelves=(2, 4))
    )
    assert run().strip() == repr(Kitchen())
    assert "'pie' is not one of" in run("--programme", "pie")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"degrees": 400}, "the oven: degrees is 400. Give 50 or more, at most 300."),
        ({"degrees": "hot"}, "the oven: degrees is 'hot'. Give a number."),
        ({"programme": "pie"}, "the oven: programme is 'pie'. Give one of: bread, cake."),
        ({"cook": "eve"}, "the oven: cook is 'eve'. Give one of: anna, otto."),
        ({"shelves": (1,)}, r"the oven: shelves is (1,). Give 2 numbers."),
        ({"shelves": [1, 9]}, r"the oven: shelves is (1, 9). Give 1 or more, at most 5."),
        ({"degree": 1}, "the oven: there is no setting 'degree'. Did you mean 'degrees'?"),
        ({"fan": None}, "the oven: fan is None. Give true or false."),
    ],
)
def test_checks_follow(values, message):
    with pytest.raises(OptionError) as refused:
        Kitchen.from_dict(values)
    assert str(refused.value) == message


def test_open_settings_are_filled_in_from_the_rest_and_then_checked():
    assert Oven().resolve(SimpleNamespace(dough=30)).minutes == 30
    cake = Oven(programme="cake").resolve(SimpleNamespace(dough=30))
    assert cake.minutes == 60 and cake.resolve(SimpleNamespace(dough=1)) == cake
    assert Oven(minutes=5).resolve(SimpleNamespace(dough=30)).minutes == 5
    with pytest.raises(OptionError, match="the oven: 120 minutes burn it"):
        Oven(programme="cake").resolve(SimpleNamespace(dough=60))


def test_a_file_holds_what_is_chosen_and_makes_it_again(tmp_path):
    chosen = Kitchen(cook_options={"salt": 2, "sugar": None}).resolve(SimpleNamespace(dough=20))
    write_settings(chosen, tmp_path / "settings.toml")
    again = read_settings(tmp_path / "settings.toml")
    assert list(again) == [*declared(Oven), "cook", "shelves", "cook_options"]
    assert again["minutes"] == 20 and again["cook_options"] == {"salt": 2} and again["shelves"] == [1, 3]
    assert Kitchen.from_dict(again).changes(chosen) == []
    assert Kitchen.from_dict({**again, "fan": False}).changes(chosen) == ["fan"]


def test_what_belonged_to_another_choice_goes_with_it():
    mine = {"cook": "anna", "cook_options": {"salt": 2}}
    assert layered(Kitchen, mine, {"cook_options": {"sugar": 1}})["cook_options"] == {"salt": 2, "sugar": 1}
    assert layered(Kitchen, mine, {"cook": "otto"}) == {"cook": "otto"}


def test_larger_groups_hold_smaller_ones_and_settings_cannot_be_changed():
    oven = Kitchen(degrees=99, minutes=3).part(Oven)
    assert oven == Oven(degrees=99, minutes=3, fan=True) and type(oven) is Oven
    assert Kitchen(minutes=3).replaced(fan=False) == Kitchen(minutes=3, fan=False)
    with pytest.raises(AttributeError):
        oven.degrees = 3
