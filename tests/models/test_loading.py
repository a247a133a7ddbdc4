import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from audiotag.errors import (
    AudiotagWarning,
    CheckpointError,
    LabelError,
    OptionError,
    PluginError,
    UnknownNameError,
    WeightsError,
)
from audiotag.labels import Label, LabelSet, known_labels
from audiotag.models.checkpoint import save_checkpoint
from audiotag.models.loading import load_model


@pytest.fixture
def published(tiny, tmp_path):
    """The weights behind ``tiny_home``: 21 classes, width 3."""
    backbone = tiny.TinyBackbone(21, width=3)
    torch.save(backbone.state_dict(), tmp_path / "tiny_home_source.pt")
    return tmp_path / "tiny_home_source.pt"


def test_a_published_model_loads_by_name(published, tmp_path):
    model = load_model("tiny_home")
    assert model.labels == known_labels("home")
    assert model.name == "tiny_home" and model.options == {"width": 3}
    assert not model.backbone.training
    assert torch.equal(model.backbone.conv.weight, torch.load(published, weights_only=True)["conv.weight"])
    assert (tmp_path / "cache" / "weights" / "tiny_home.pt").is_file()


def test_labels_of_a_known_model_may_be_given_but_not_another_set(published):
    home = known_labels("home")
    assert load_model("tiny_home", labels="home").labels == home
    with pytest.raises(LabelError, match=r"has 200 classes, and 'tiny_home' has 21"):
        load_model("tiny_home", labels="fsd50k")
    with pytest.raises(LabelError, match=r"has 'Dog' at index 20, where"):
        load_model("tiny_home", labels=[*(label.mid for label in home[:20]), "Dog"])


@pytest.mark.parametrize("way", ["registry", "file", "checkpoint"])
@pytest.mark.parametrize("what", ["mids", "own names", "names only"])
def test_the_same_classes_in_another_order_keep_the_order_of_the_scores(published, tmp_path, way, what):
    home = known_labels("home")
    given = {
        "mids": LabelSet(reversed(home)),
        "own names": LabelSet([Label(label.mid, label.name.upper()) for label in reversed(home)]),
        "names only": LabelSet.from_names(reversed(home.names)),
    }[what]
    if way == "checkpoint":
        source, options = save_checkpoint(tmp_path / "run", load_model("tiny_home")), {}
    else:
        source, options = "tiny_home", {"weights": published} if way == "file" else {}
    with pytest.warns(AudiotagWarning, match=r"the classes of .* in another order; the scores keep theirs"):
        model = load_model(source, labels=given, **options)
    assert model.labels.mids == home.mids
    assert model.labels.names == tuple(name.upper() if what == "own names" else name for name in home.names)


def test_a_file_of_a_family_that_may_be_a_published_one_is_asked_about(published):
    given = LabelSet(reversed(known_labels("home")))
    with pytest.warns(
        AudiotagWarning, match=r"the classes of 'home' in another order than published weights of 'tiny'"
    ):
        assert load_model("tiny", weights=published, labels=given, options={"width": 3}).labels == given


def test_a_list_with_most_classes_in_other_places_is_asked_about(published):
    edited = LabelSet([Label("/m/zzz", "Other"), *list(reversed(known_labels("home")))[1:]])
    with pytest.warns(AudiotagWarning, match=r"classes of .* stand in other places than in 'tiny_home'"):
        assert load_model("tiny_home", weights=published, labels=edited).labels == edited


def test_other_classes_of_a_file_are_believed(published):
    others = LabelSet.from_names([f"sound {number}" for number in range(21)])
    assert load_model("tiny_home", weights=published, labels=others).labels == others


def test_missing_weights_say_where_to_put_the_file(tiny, tmp_path):
    with pytest.raises(WeightsError, match=str(tmp_path / "cache" / "weights" / "tiny_home.pt")):
        load_model("tiny_home")


def test_a_local_file_replaces_the_download(published, tmp_path):
    published = published.rename(tmp_path / "local.pt")
    model = load_model("tiny_home", weights=published)
    assert model.labels == known_labels("home")
    assert model.metadata["weights"]["file"] == "local.pt"


def test_a_family_takes_its_class_count_from_the_file(tiny, tmp_path):
    torch.save({"model": tiny.TinyBackbone(7, width=6).state_dict()}, tmp_path / "seven.pt")
    model = load_model("tiny", weights=tmp_path / "seven.pt", options={"width": 6})
    assert model.labels.names == tuple(f"class {index}" for index in range(7))
    assert model.backbone.num_classes == 7 and model.name == "seven"
    named = load_model("tiny", weights=tmp_path / "seven.pt", options={"width": 6}, labels=list("abcdefg"))
    assert named.labels.names == tuple("abcdefg")


def test_another_class_count_is_named_on_both_sides(tiny, tmp_path):
    torch.save(tiny.TinyBackbone(7, width=3).state_dict(), tmp_path / "seven.pt")
    with pytest.raises(LabelError, match=r"has 3 classes, and the file .*seven.pt has 7"):
        load_model("tiny", weights=tmp_path / "seven.pt", options={"width": 3}, labels=list("abc"))
    with pytest.raises(LabelError, match=r"the file has 7 classes, and 'tiny_home' has 21.*labels="):
        load_model("tiny_home", weights=tmp_path / "seven.pt")
    fine = load_model("tiny_home", weights=tmp_path / "seven.pt", labels=list("abcdefg"))
    assert len(fine.labels) == 7


def test_a_file_without_head_needs_fine_tuning(tiny, tmp_path, monkeypatch):
    state = {key: value for key, value in tiny.TinyBackbone(7).state_dict().items() if "classifier" not in key}
    torch.save(state, tmp_path / "headless.pt")
    with pytest.raises(CheckpointError, match=r"number of classes cannot be read"):
        load_model("tiny", weights=tmp_path / "headless.pt")
    monkeypatch.setattr(
        tiny.TinyBackbone, "fresh_keys", lambda self, state: [key for key in self.state_dict() if "classifier" in key]
    )
    with pytest.raises(CheckpointError, match=r"without a head.*Fine-tune"):
        load_model("tiny", weights=tmp_path / "headless.pt", labels=["a", "b"])
    model = load_model("tiny", weights=tmp_path / "headless.pt", untrained_head=True)
    assert torch.equal(model.backbone.conv.weight, state["conv.weight"])


def test_a_family_alone_has_no_weights(tiny):
    with pytest.raises(OptionError, match=r"family.*weights=FILE, or load one of: tiny_home"):
        load_model("tiny")


def test_unknown_names_get_close_matches(tiny):
    with pytest.raises(UnknownNameError, match=r"Did you mean 'tiny_home'"):
        load_model("tiny_hom")
    with pytest.raises(UnknownNameError, match=r"no such folder"):
        load_model("runs/of/yesterday")


@pytest.fixture
def run(published, tmp_path):
    save_checkpoint(tmp_path / "run" / "best", load_model("tiny_home"))
    return tmp_path / "run"


def test_a_run_folder_loads(run):
    for name in (run, str(run), str(run / "best")):
        assert load_model(name).labels == known_labels("home")
    assert load_model("tiny", weights=run).labels == known_labels("home")


def test_the_folder_one_stands_in_loads(run, monkeypatch):
    monkeypatch.chdir(run / "best")
    assert load_model(".").name == "tiny_home"
    assert load_model("..").name == "tiny_home"


def test_a_registered_name_goes_before_a_folder_of_that_name(run, tmp_path, monkeypatch):
    run.rename(tmp_path / "tiny_home")
    monkeypatch.chdir(tmp_path)
    assert "weights" in load_model("tiny_home").metadata
    assert load_model("./tiny_home").name == "tiny_home"
    (tmp_path / "tiny_home").rename(tmp_path / "other")
    assert load_model("other").name == "tiny_home"


def test_a_checkpoint_brings_its_own_weights_options_and_labels(run):
    with pytest.raises(OptionError, match=r"weights are given beside a checkpoint"):
        load_model(run, weights=run)
    with pytest.raises(OptionError, match=r"options \(width\)"):
        load_model(run, options={"width": 3})
    with pytest.raises(LabelError, match=r"has 2 classes, and the checkpoint .* has 21"):
        load_model(run, labels=["a", "b"])


def test_a_checkpoint_of_another_family_is_refused(run, install_plugin):
    install_plugin(
        "audiotag-other",
        "from audiotag.plugin import BackboneSpec, hookimpl\n"
        "@hookimpl\n"
        "def register_backbones():\n"
        "    return [BackboneSpec(name='other', family='other', factory='x:y', sample_rate=8000, clip_seconds=1.0,"
        " min_seconds=0.1)]\n",
    )
    with pytest.raises(CheckpointError, match=r"of the family 'tiny', and 'other' is of 'other'"):
        load_model("other", weights=run)


def test_a_real_published_checkpoint_gives_the_real_tags(assets, tmp_path):
    """The whole path on real weights: registry, strict import, a checkpoint of ours and back."""
    soundfile = pytest.importorskip("soundfile")
    pytest.importorskip("audiotag_mobilenet_baseline")
    weights = assets / "assets" / "weights" / "mn04_as_mAP_432.pt"
    golden = json.loads((assets / "golden" / "mn04_as_published.json").read_text())
    model = load_model("mn04_as", weights=weights)
    assert (len(model.labels), model.options) == (527, {"width_mult": 0.4})
    assert model.metadata["weights"] == {"file": weights.name, "loaded": 312, "unused": []}
    back = load_model(save_checkpoint(tmp_path / "mine", model))
    assert back.labels == known_labels("audioset")
    for clip, expected in golden["outputs"].items():
        waveform, rate = soundfile.read(assets / "assets" / "clips" / clip, dtype="float32")
        if rate != 32_000:
            continue
        with torch.no_grad():
            logits = back.backbone(torch.from_numpy(waveform)[None])[0]
        reference = torch.tensor(expected["logits"])
        assert (logits - reference).abs().max() < 1e-3 * reference.abs().max()
        assert back.labels[int(logits.argmax())].name == expected["top"][0][0]


def test_a_family_reads_its_classes_from_a_real_file(assets):
    pytest.importorskip("audiotag_mobilenet_baseline")
    weights = assets / "assets" / "weights" / "mn04_as_mAP_432.pt"
    assert len(load_model("mn", weights=weights, options={"width_mult": 0.4}).labels) == 527
    with pytest.raises(
        CheckpointError, match=r"features\.0\.0\.weight is \(8, 1, 3, 3\) there and \(16, 1, 3, 3\) here"
    ):
        load_model("mn", weights=weights)


IN_PARTS = """
import numpy as np
import torch
from audiotag.plugin import BackboneSpec, Weights, hookimpl

def read(path):
    return {{key: torch.from_numpy(value) for key, value in np.load(path).items()}}

def part(name, **more):
    return Weights(urls=("{folder}/" + name,), filename=name, licence="MIT", **more)

@hookimpl
def register_backbones():
    return [BackboneSpec(
        name="in_parts", family="tiny", factory="tiny:TinyBackbone", sample_rate=8000, clip_seconds=1.0,
        min_seconds=0.1, num_classes=2, citation="Nobody", weights=part("body.npz", parts=(part("{second}"),)),
        reader="audiotag_in_parts_plugin:{reader}",
    )]
"""


@pytest.fixture
def in_parts(tiny, tmp_path, install_plugin):
    """The state dict that two files of arrays hold, and a function that registers the model of both."""
    state = tiny.TinyBackbone(2).state_dict()
    body = {key: value.numpy() for key, value in state.items() if not key.startswith("classifier.")}
    np.savez(tmp_path / "body.npz", **body)
    np.savez(tmp_path / "head.npz", **{key: state[key].numpy() for key in state if key.startswith("classifier.")})
    np.savez(tmp_path / "twice.npz", **body)

    def install(second="head.npz", reader="read"):
        source = IN_PARTS.format(folder=tmp_path.as_uri(), second=second, reader=reader)
        install_plugin("audiotag-in-parts", source)

    return state, install


def test_a_model_may_lie_in_several_files_of_a_format_of_its_own(in_parts, tmp_path):
    state, install = in_parts
    install()
    model = load_model("in_parts")
    assert all(torch.equal(value, state[key]) for key, value in model.backbone.state_dict().items())
    assert {path.name for path in (tmp_path / "cache" / "weights").glob("*.npz")} == {"body.npz", "head.npz"}
    np.savez(tmp_path / "own.npz", **{key: value.numpy() for key, value in state.items()})
    assert load_model("in_parts", weights=tmp_path / "own.npz").metadata["weights"]["file"] == "own.npz"


def test_files_that_hold_the_same_entries_are_refused(in_parts):
    in_parts[1]("twice.npz")
    with pytest.raises(CheckpointError, match="stand in another file of the model too"):
        load_model("in_parts")


def test_a_reader_of_something_else_is_named(in_parts):
    in_parts[1](reader="np.load")
    with pytest.raises(PluginError, match="returned something else than tensors by name"):
        load_model("in_parts")


def test_loading_a_model_does_not_import_the_compiler_of_torch() -> None:
    program = (
        "import sys; from audiotag.models.loading import load_model; load_model('home10')\n"
        "print([name for name in ('torch._dynamo', 'sympy', 'torchaudio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", "a second at each start of `audiotag infer`"
