"""``audiotag cache``: what is kept, and clearing it."""

import json

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from audiotag.cache.ledger import ArrayCache
from audiotag.cache.place import cache_folder
from audiotag.cli.cache import cache
from audiotag.data.clips import Clip
from audiotag.data.sound_cache import SoundCache
from audiotag.errors import OptionError

PLUGIN = """
from audiotag.plugin import BackboneSpec, Weights, hookimpl

def part(name, *more):
    return Weights(urls=(f"https://weights.invalid/{name}",), filename=name, parts=more)

@hookimpl
def register_backbones():
    return [BackboneSpec(name="net", family="net", factory="nowhere:net", sample_rate=8000, clip_seconds=1.0,
                         min_seconds=0.1, weights=part("net.pt", part("part.pt")))]
"""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIOTAG_CACHE", str(tmp_path / "cache"))


def run(*arguments):
    return CliRunner().invoke(cache, arguments, catch_exceptions=False).output


def kinds():
    return {one["kind"]: (one["entries"], one["bytes"]) for one in json.loads(run("list", "--json"))["kinds"]}


@pytest.fixture
def filled(tmp_path, install_plugin):
    install_plugin("audiotag-net", PLUGIN)
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 8000)
    SoundCache(cache_folder() / "sounds", 10_000).read(Clip("a", tmp_path / "a.wav"), 8000)
    with ArrayCache() as arrays:
        arrays.put({"a": np.zeros(3, np.float32), "b": np.zeros(3, np.float32)})
    (cache_folder() / "weights").mkdir()
    (cache_folder() / "weights" / "net.pt").write_bytes(b"numbers")
    (cache_folder() / "weights" / "part.pt").write_bytes(b"more")
    (cache_folder() / "weights" / "mine.pt").write_bytes(b"mine")


def test_an_empty_cache_is_listed_and_nothing_is_made():
    assert kinds() == {"sounds": (0, 0), "embeddings": (0, 0), "weights": (0, 0), "exports": (0, 0)}
    assert not cache_folder().exists()


def test_what_there_is(filled):
    found = kinds()
    assert found["sounds"][0] == 1 and found["sounds"][1] > 0
    assert found["embeddings"] == (2, 2 * (12 + len(b"3\n"))) and found["weights"] == (2, 11)
    lines = run("list").splitlines()
    assert lines[0].split() == ["KIND", "ENTRIES", "SIZE", "PLACE"]
    assert lines[3].split() == ["weights", "2", "11", "B", str(cache_folder() / "weights")]


def test_what_is_computed_is_cleared_and_weights_stay(filled):
    assert "embeddings: 2 removed, 28 B" in run("clear")
    assert {kind: entries for kind, (entries, _) in kinds().items()} == {
        "sounds": 0,
        "embeddings": 0,
        "weights": 2,
        "exports": 0,
    }
    assert not list((cache_folder() / "sounds").glob("??/*"))


def test_weights_are_cleared_by_name(filled):
    assert json.loads(run("clear", "weights", "--json")) == {
        "cleared": [{"kind": "weights", "entries": 2, "bytes": 11}]
    }
    assert [path.name for path in (cache_folder() / "weights").iterdir()] == ["mine.pt"]
    assert kinds()["embeddings"][0] == 2


def test_what_was_used_lately_stays(filled):
    assert "embeddings: 0 removed" in run("clear", "embeddings", "--older-than", "1h")
    assert "embeddings: 2 removed" in run("clear", "embeddings", "--older-than", "0h")


@pytest.mark.parametrize("age", ["soon", "30", "-1d", "1y"])
def test_an_age_that_is_none(age):
    with pytest.raises(OptionError, match="no age"):
        run("clear", "--older-than", age)
