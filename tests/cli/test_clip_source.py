"""The options for labelled clips that verbs share: a verb gets one object for each list."""

import click
import pytest
from click.testing import CliRunner

from audiotag.cli.clip_source import clip_source
from audiotag.data.source import ClipSource


def ask(*words, **more):
    """What a verb with all of the options gets."""
    got = {}

    @click.command()
    @clip_source(
        "--train", "split", "fold", "labels", "format", "root", "unknown_labels", "single_label", "frames",
        others={"val": "To validate on.", "test": "To measure on."}, parts=("val",), **more,
    )  # fmt: skip
    def verb(**arguments):
        got.update(arguments)

    done = CliRunner().invoke(verb, words)
    assert done.exit_code == 0, done.output
    return got


def test_every_option_is_a_field():
    words = ["--train", "a.csv", "--split", "x,y", "--fold", "1", "--fold", "3", "--labels", "home", "--format", "csv"]
    words += ["--root", "sounds", "--unknown-labels", "skip", "--multi-label", "--frames", "2"]
    assert ask(*words) == {
        "train": ClipSource(
            "a.csv", split="x,y", fold=(1, 3), labels="home", format="csv", root="sounds", unknown_labels="skip",
            single_label=False, frames=2,
        ),
        "val": None,
        "test": None,
    }  # fmt: skip
    assert ask("--train", "a.csv")["train"] == ClipSource("a.csv")


def test_other_lists_are_read_in_the_same_way():
    got = ask(
        "--train", "a.csv", "--split", "x", "--fold", "1", "--labels", "home", "--val", "b.csv", "--val-split", "y"
    )
    assert got["val"] == ClipSource("b.csv", split="y", labels="home")
    assert ask("--train", "a.csv", "--val-split", "y")["val"] == ClipSource("a.csv", split="y")
    assert ask("--test", "c.csv", "--labels", "home") == {
        "train": None,
        "val": None,
        "test": ClipSource("c.csv", labels="home"),
    }
    assert ask("--val-split", "y") == {"train": None, "val": None, "test": None}


def test_an_argument_must_exist(tmp_path):
    @click.command()
    @clip_source("SOURCE", "root")
    def verb(source):
        click.echo(repr(source))

    assert repr(ClipSource(tmp_path, root="x")) in CliRunner().invoke(verb, [str(tmp_path), "--root", "x"]).output
    assert "does not exist" in CliRunner().invoke(verb, [str(tmp_path / "none")]).output


@pytest.mark.parametrize("required", [True, False])
def test_what_is_required_is_asked_for(required):
    @click.command()
    @clip_source("--data", required=required)
    def verb(data):
        assert data is None

    assert CliRunner().invoke(verb, []).exit_code == (2 if required else 0)
