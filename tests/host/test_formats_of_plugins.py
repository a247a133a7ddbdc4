"""A plugin's dataset format that misbehaves does not keep the others from reading."""

import pytest

from audiotag.data.reading import read_clips
from audiotag.data.sniffing import sniff_format
from audiotag.errors import AudiotagWarning, ManifestError, PluginError

PLUGIN = """
from audiotag.plugin import DatasetSpec, hookimpl

@hookimpl
def register_datasets():
    return [DatasetSpec(name="odd", factory="odd_format:Odd", extensions=(".csv", ".json", ".odd", "/"))]
"""

FORMAT = """
import sys
from audiotag.plugin import Clip, ClipSet, Dataset
from audiotag.labels import LabelSet

class Odd(Dataset):
    def __init__(self):
        MAKING

    def recognises(self, source):
        print("recognising")
        RECOGNISING

    def read(self, source, *, labels=None, root=None, unknown_labels="error"):
        print("reading")
        READING
"""


@pytest.fixture
def odd(install_plugin, plugin_folder, monkeypatch):
    def install(making="pass", recognising="return False", reading="return None"):
        source = FORMAT.replace("MAKING", making).replace("RECOGNISING", recognising).replace("READING", reading)
        (plugin_folder / "odd_format.py").write_text(source)
        install_plugin("audiotag-odd", PLUGIN, entry="odd")

    import sys

    sys.modules.pop("odd_format", None)
    yield install
    sys.modules.pop("odd_format", None)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path,labels\na.wav,Dog\n")
    return path


FAILURES = {
    "raises": ("1 / 0", "ZeroDivisionError: division by zero"),
    "exits": ("sys.exit(9)", "SystemExit: 9"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("where", ["making", "recognising"])
def test_one_that_fails_when_it_is_asked_is_passed_over_and_named(odd, table, capsys, failure, where):
    action, told = FAILURES[failure]
    odd(**{where: action})
    with pytest.warns(AudiotagWarning, match=rf"plugin 'odd' of audiotag-odd 1\.0: .* failed: {told}"):
        assert sniff_format(table) == "csv"
    assert capsys.readouterr().out == ""
    # Where nobody else knows the file, it is the error.
    (table.parent / "a.odd").write_text("x")
    with pytest.raises(PluginError, match=rf"plugin 'odd' of audiotag-odd 1\.0: .* failed: {told}"):
        sniff_format(table.parent / "a.odd")


@pytest.mark.parametrize("failure", FAILURES)
def test_one_that_fails_at_reading_is_named(odd, table, capsys, failure):
    action, told = FAILURES[failure]
    odd(reading=action)
    with pytest.raises(
        PluginError, match=rf"plugin 'odd' of audiotag-odd 1\.0: reading .*list\.csv as odd failed: {told}"
    ):
        read_clips(table, format="odd")
    assert capsys.readouterr().out == ""


def test_one_that_says_yes_to_everything_does_not_block_the_others(odd, table):
    odd(recognising="return True")
    with pytest.warns(AudiotagWarning, match=r"'odd' of the plugin 'odd' of audiotag-odd 1\.0 .*an empty file"):
        assert sniff_format(table) == "csv"
    (table.parent / "classes" / "dog").mkdir(parents=True)
    (table.parent / "classes" / "dog" / "a.wav").touch()
    with pytest.warns(AudiotagWarning, match="an empty file"):
        assert sniff_format(table.parent / "classes") == "folder"
    (table.parent / "a.odd").write_text("x")
    assert sniff_format(table.parent / "a.odd") == "odd", "nobody else wants it"


def test_two_that_both_look_into_the_file_are_named(odd, table):
    odd(recognising="return 'Dog' in source.read_text()")
    with pytest.raises(ManifestError, match=r"fits several formats \(csv, odd\).*format="):
        sniff_format(table)


def test_one_that_returns_something_else_is_named(odd, table):
    odd()
    with pytest.raises(PluginError, match=r"plugin 'odd' of audiotag-odd 1\.0: .*returned NoneType, not a ClipSet"):
        read_clips(table, format="odd")
