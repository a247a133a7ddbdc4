"""What is kept on disk is asked for by a name that holds everything that decides it."""

import dataclasses
import hashlib
import importlib
import sys

import numpy as np
import pytest
import torch

from audiotag.data.clips import Clip, ClipSet
from audiotag.data.sets.tiny import tiny_sound
from audiotag.engines.opening import as_engine
from audiotag.host import get_host, reset_host
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.training.clip_keys import embedding_keys, teacher_keys

BOUNDS = (1.0, 2.0)

PLUGIN = """
from audiotag.plugin import BackboneSpec, hookimpl

@hookimpl
def register_backbones():
    return [BackboneSpec(name="home_net", family="home_net", factory="home_net.networks.wide:HomeNet", sample_rate=8000,
                         clip_seconds=1.0, min_seconds=0.1)]
"""

NETWORK = """
from home_net.pooling import mean
from tiny import TinyBackbone

class HomeNet(TinyBackbone):
    def pool(self, features):
        return mean(features)
"""


@pytest.fixture
def sounds(tmp_path):
    import soundfile

    for name, pitch in (("a", 0), ("b", 1), ("same", 0)):
        soundfile.write(tmp_path / f"{name}.wav", tiny_sound((pitch,), 0, rate=8000), 8000)

    def clips(*parts):
        found = (
            Clip(id=str(n), path=tmp_path / f"{name}.wav", start=start, stop=stop) for n, (name, start, stop) in parts
        )
        return ClipSet(tuple(found), LabelSet.from_names(["x"]))

    return lambda *parts: clips(*enumerate(parts))


@pytest.fixture
def model(tiny):
    return Model(create_backbone("tiny", 2), get_host().backbone("tiny"), {}, LabelSet.from_names(["x", "y"]), "mine")


def test_the_content_and_the_part_make_the_name(sounds, model):
    same = embedding_keys(sounds(("a", 0.0, None), ("same", 0, None), ("a", np.float64(0), None)), model, BOUNDS)
    assert len(set(same)) == 1
    others = sounds(("b", 0.0, None), ("a", 0.5, None), ("a", 0.0, 0.5), ("a", 0.0, 0.5 + 1e-12), ("a", 0.5, 0.6))
    assert len({*same, *embedding_keys(others, model, BOUNDS)}) == 6


def test_the_picture_makes_the_name(sounds, model, monkeypatch):
    clips = sounds(("a", 0.0, None), ("b", 0.0, None))
    pictures, asked = {"0": np.zeros((2, 3, 3), np.uint8), "1": np.zeros((2, 3, 3), np.uint8)}, []

    def read_frame(clip, shape):
        asked.append((clip.id, shape))
        return pictures[clip.id]

    monkeypatch.setattr("audiotag.data.video.read_frame", read_frame)
    monkeypatch.setattr("audiotag.training.clip_keys.cache_key", lambda *parts: "/".join(map(str, parts)))
    seeing, both = create_backbone("tiny", 2), create_backbone("tiny", 2)
    seeing.inputs, both.inputs = ("video",), ("waveform", "video")
    seeing.video_shape = both.video_shape = (3, 2, 3)
    names = {
        kind: embedding_keys(clips, dataclasses.replace(model, backbone=network), BOUNDS)
        for kind, network in (("seeing", seeing), ("both", both), ("hearing", model.backbone))
    }
    assert asked == [("0", (3, 2, 3)), ("1", (3, 2, 3))] * 2
    assert names["seeing"][0] == names["seeing"][1] and names["both"][0] != names["both"][1]
    digest = hashlib.blake2b(pictures["0"].tobytes(), digest_size=16).hexdigest()
    sound = names["hearing"][0].rpartition("/")[2]
    part = names["hearing"][0].split("/")[-2]
    assert names["seeing"][0].split("/")[-2:] == [part, digest]
    assert names["both"][0].split("/")[-3:] == [part, sound, digest]
    pictures["1"] = np.ones((2, 3, 3), np.uint8)
    seen = embedding_keys(clips, dataclasses.replace(model, backbone=seeing), BOUNDS)
    assert seen[0] == names["seeing"][0] != seen[1]


def test_parts_far_into_a_recording_have_names_of_their_own(sounds, model):
    parts = sounds(
        ("a", 10000.12, 10000.5), ("a", 10000.14, 10000.5), ("a", 10000.14, 10000.500001), ("a", 86400.0, None)
    )
    assert len(set(embedding_keys(parts, model, BOUNDS))) == 4
    assert len(set(teacher_keys(parts, [as_engine(model)], "logits"))) == 4


def test_everything_about_the_network_makes_the_name(sounds, model):
    clips = sounds(("a", 0.0, None))

    def names(changed, bounds=BOUNDS, combine="mean"):
        return (
            *embedding_keys(clips, changed, bounds),
            *teacher_keys(clips, [as_engine(changed), as_engine(model)], combine),
        )

    def changed(change):
        network = create_backbone("tiny", 2)
        change(network)
        return dataclasses.replace(model, backbone=network)

    seen = [names(model)]
    for other in (
        dataclasses.replace(model, options={"hop_size": 160}),
        dataclasses.replace(model, options={"hop_size": 320}),
        changed(lambda network: setattr(network, "temperature", 2.0)),
        changed(lambda network: torch.nn.init.ones_(network.conv.weight)),
        changed(lambda network: network.norm.running_mean.add_(1e-6)),
    ):
        seen.append(names(other))
    for column in zip(*seen, strict=True):
        assert len(set(column)) == len(seen)
    assert names(model, bounds=(1.0, 2.0000001))[0] != seen[0][0]
    assert names(model, combine="median")[1] != seen[0][1]
    # The head is not before itself, but it decides what a teacher says.
    head = names(changed(lambda network: torch.nn.init.ones_(network.classifier[0].weight)))
    assert head[0] == seen[0][0] and head[1] != seen[0][1]


def test_code_and_version_of_the_plugin_make_the_name(sounds, model, install_plugin, plugin_folder):
    package = plugin_folder / "home_net"
    (package / "networks").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "networks" / "__init__.py").touch()
    (package / "networks" / "wide.py").write_text(NETWORK)
    helper = package / "pooling.py"
    helper.write_text("def mean(features): return features.mean(-1)\n")
    module = install_plugin("audiotag-home-net", PLUGIN)
    clips = sounds(("a", 0.0, None))

    def name():
        for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] in ("home_net", module)]:
            sys.modules.pop(loaded)
        importlib.invalidate_caches()
        reset_host()
        network = create_backbone("home_net", 2)
        made = Model(network, get_host().backbone("home_net"), {}, model.labels, "mine")
        return (*embedding_keys(clips, made, BOUNDS), *teacher_keys(clips, [as_engine(made)], "logits"))

    first = name()
    assert name() == first
    helper.write_text("def mean(features): return features.amax(-1)\n")
    second = name()
    (info,) = plugin_folder.glob("audiotag_home_net*.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: audiotag-home-net\nVersion: 1.1\n")
    third = name()
    assert len({first[0], second[0], third[0]}) == len({first[1], second[1], third[1]}) == 3
