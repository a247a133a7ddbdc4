import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from audiotag.errors import AudiotagError, AudiotagWarning, CheckpointError, OutputError, PluginError
from audiotag.host import get_host, reset_host
from audiotag.labels import Label, LabelSet
from audiotag.models import published
from audiotag.models.checkpoint import load_checkpoint, load_training_state, save_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.facts import find_checkpoint, read_facts
from audiotag.models.model import Model

LABELS = LabelSet([Label("/m/1", "Dripping, slow"), Label("/m/2", 'A "bang"'), Label("/m/3", "Vogel — Wald")])


@pytest.fixture
def make_model(tiny):
    def make(seed=0, **options):
        options = {"width": 3, "head_type": "mlp", **options}
        return Model(
            backbone=create_backbone("tiny", 3, seed=seed, **options),
            spec=get_host().backbone("tiny"),
            options=options,
            labels=LABELS,
            name=f"mine {seed}",
            metadata={"metrics": {"mAP": np.float64(0.5), "AUC": float("nan")}, "clip_seconds": 2.0},
        )

    return make


def name_in(folder):
    return json.loads((folder / "audiotag.json").read_text())["name"]


def test_everything_comes_back(make_model, tmp_path):
    model = make_model(single := 3)
    model.single_label = True
    model.thresholds = np.array([0.1, 0.25, 0.5])
    model.backbone.temperature = 12.5
    folder = save_checkpoint(tmp_path / "deep" / "er", model)
    assert sorted(path.name for path in folder.iterdir()) == ["audiotag.json", "model.safetensors"]
    back = load_checkpoint(folder)
    assert back.labels == LABELS and back.labels.names == LABELS.names
    assert (back.name, back.single_label, back.options) == (f"mine {single}", True, {"width": 3, "head_type": "mlp"})
    assert back.thresholds.tolist() == [0.1, 0.25, 0.5]
    assert back.backbone.temperature == 12.5
    assert not back.backbone.training
    assert back.clip_seconds == 2.0
    assert back.metadata["metrics"] == {"mAP": 0.5, "AUC": None}
    waveform = torch.linspace(-1, 1, 8000)[None]
    with torch.no_grad():
        torch.testing.assert_close(back.backbone(waveform), model.backbone.eval()(waveform), rtol=0, atol=0)


def test_the_facts_name_the_plugin_and_are_valid_json(make_model, tmp_path):
    save_checkpoint(tmp_path / "model", make_model())
    facts = json.loads((tmp_path / "model" / "audiotag.json").read_text(), parse_constant=pytest.fail)
    assert facts["format_version"] == 1
    assert facts["backbone"]["plugin"] == {"distribution": "audiotag-tiny", "version": "1.0"}
    assert facts["labels"][0] == {"mid": "/m/1", "name": "Dripping, slow"}
    assert facts["sample_rate"] == 8000
    assert read_facts(tmp_path / "model") == facts


def test_tuples_in_options_come_back_as_tuples(make_model, tmp_path):
    model = make_model()
    model.options = {**model.options, "width": 3}
    save_checkpoint(tmp_path / "model", model)
    path = tmp_path / "model" / "audiotag.json"
    facts = json.loads(path.read_text())
    facts["backbone"]["options"]["head_type"] = ["linear", "mlp"]
    path.write_text(json.dumps(facts))
    with pytest.raises(Exception, match=r"\('linear', 'mlp'\)"):
        load_checkpoint(tmp_path / "model")


def test_others_may_read_it_as_they_may_any_file(make_model, tmp_path):
    folder = save_checkpoint(tmp_path / "run", make_model())
    (tmp_path / "plain").touch()
    assert {path.stat().st_mode for path in folder.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_a_second_checkpoint_takes_the_place_of_the_first(make_model, tmp_path):
    save_checkpoint(tmp_path / "model", make_model(0), training_state={"epoch": 1})
    save_checkpoint(tmp_path / "model", make_model(1))
    assert load_checkpoint(tmp_path / "model").name == "mine 1"
    assert not (tmp_path / "model" / "optimizer.pt").exists()
    assert [path.name for path in tmp_path.iterdir() if "model" in path.name] == ["model"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_weights_that_are_not_finite_are_refused_and_the_old_checkpoint_stays(make_model, tmp_path, bad):
    save_checkpoint(tmp_path / "model", make_model(0))
    model = make_model(1)
    with torch.no_grad():
        model.backbone.conv.weight[0, 0, 0] = bad
    with pytest.raises(CheckpointError, match=r"cannot be weights.*: conv\.weight"):
        save_checkpoint(tmp_path / "model", model)
    assert load_checkpoint(tmp_path / "model").name == "mine 0"


def test_training_state_comes_back(make_model, tmp_path):
    generator = np.random.default_rng(3)
    state = {
        "epoch": np.int64(4),
        "optimizer": torch.optim.AdamW(make_model().backbone.parameters(), lr=1e-3, betas=(0.9, 0.95)).state_dict(),
        "torch_rng": torch.Generator().manual_seed(1).get_state(),
        "numpy_rng": generator.bit_generator.state,
        "best": {"mAP": np.float64(0.25), "history": [(1, 0.5)]},
    }
    save_checkpoint(tmp_path / "last", make_model(), training_state=state)
    back = load_training_state(tmp_path / "last")
    assert back["epoch"] == 4 and back["best"] == {"mAP": 0.25, "history": [(1, 0.5)]}
    assert torch.equal(back["torch_rng"], state["torch_rng"])
    assert back["numpy_rng"] == generator.bit_generator.state
    assert back["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.95)


def test_a_training_state_that_could_not_be_read_again_is_refused(make_model, tmp_path):
    with pytest.raises(CheckpointError, match=r"training_state\.sampler\.0 is a set"):
        save_checkpoint(tmp_path / "last", make_model(), training_state={"sampler": [{1, 2}]})
    assert not (tmp_path / "last").exists()


def test_no_training_state_is_said_so(make_model, tmp_path):
    save_checkpoint(tmp_path / "best", make_model())
    with pytest.raises(CheckpointError, match=r"no training state.*'last'"):
        load_training_state(tmp_path / "best")


def test_a_damaged_training_state_is_said_so(make_model, tmp_path):
    save_checkpoint(tmp_path / "last", make_model(), training_state={"epoch": 1})
    (tmp_path / "last" / "optimizer.pt").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"training state cannot be read"):
        load_training_state(tmp_path / "last")


def test_a_run_folder_means_its_best_then_its_last(make_model, tmp_path):
    run = tmp_path / "run"
    save_checkpoint(run / "last", make_model(1))
    assert find_checkpoint(run) == run / "last"
    save_checkpoint(run / "best", make_model(2))
    assert find_checkpoint(run) == run / "best"
    assert find_checkpoint(run / "last" / "model.safetensors") == run / "last"
    assert load_checkpoint(run).name == "mine 2"


def test_no_checkpoint_is_said_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"does not exist"):
        find_checkpoint(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match=r"is not a checkpoint and contains none.*best and last"):
        load_checkpoint(tmp_path)


def test_other_files_are_never_lost(make_model, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("precious")
    with pytest.raises(CheckpointError, match=r"would be lost: diary\.txt"):
        save_checkpoint(tmp_path / "notes", make_model())
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "model.safetensors").write_text("precious")
    with pytest.raises(CheckpointError, match=r"would be lost: model\.safetensors"):
        save_checkpoint(tmp_path / "theirs", make_model())
    (tmp_path / "file").write_text("precious")
    with pytest.raises(CheckpointError, match=r"this is a file"):
        save_checkpoint(tmp_path / "file", make_model())
    assert (tmp_path / "notes" / "diary.txt").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_said_so(make_model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written"):
        save_checkpoint(tmp_path / "file" / "model", make_model())


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


def kill_at_rename(monkeypatch, number):
    """Kill the program at the *number*-th rename of the writer, before it happens."""
    original, count = Path.replace, 0

    def replace(self, target):
        nonlocal count
        count += 1
        if count == number:
            raise Killed
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr("audiotag.folders.shutil.rmtree", lambda *args, **kwargs: None)


@pytest.mark.parametrize(("rename", "survivor"), [(1, "mine 0"), (2, "mine 0"), (3, "mine 1")])
def test_a_kill_at_any_rename_leaves_a_whole_checkpoint(make_model, tmp_path, monkeypatch, rename, survivor):
    run = tmp_path / "run"
    save_checkpoint(run / "last", make_model(0))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_rename(patch, rename)
        save_checkpoint(run / "last", make_model(1))
    assert (run / "last").exists() == (rename < 3)
    assert load_checkpoint(run / "last").name == survivor
    assert load_checkpoint(run).name == survivor
    save_checkpoint(run / "last", make_model(2))
    assert load_checkpoint(run).name == "mine 2"
    assert [path.name for path in run.iterdir()] == ["last"]


def test_a_kill_before_the_old_one_is_removed_is_swept_up(make_model, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "run" / "last", make_model(0))
    with monkeypatch.context() as patch:
        patch.setattr("audiotag.folders.shutil.rmtree", lambda *args, **kwargs: None)
        save_checkpoint(tmp_path / "run" / "last", make_model(1))
    assert (tmp_path / "run" / ".last.audiotag" / "old").exists()
    assert load_checkpoint(tmp_path / "run").name == "mine 1"
    save_checkpoint(tmp_path / "run" / "last", make_model(2))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["last"]


def test_only_the_old_one_left_is_still_found(make_model, tmp_path):
    save_checkpoint(tmp_path / "last", make_model(0))
    (tmp_path / ".last.audiotag").mkdir()
    (tmp_path / "last").rename(tmp_path / ".last.audiotag" / "old")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)
    (tmp_path / ".last.audiotag" / "written-by-audiotag").touch()
    assert load_checkpoint(tmp_path).name == "mine 0"


def test_a_reader_whom_a_writer_comes_between_reads_again(make_model, tmp_path, monkeypatch):
    """The description is read, a writer swaps the folder, the weights are read: they must not be mixed."""
    models = [make_model(seed) for seed in range(2)]
    save_checkpoint(tmp_path / "model", models[0])
    original, calls = published.load_file, []

    def load_file(path):
        calls.append(path)
        if len(calls) == 1:
            save_checkpoint(tmp_path / "model", models[1])
        return original(path)

    monkeypatch.setattr(published, "load_file", load_file)
    back = load_checkpoint(tmp_path / "model")
    assert back.name == "mine 1" and len(calls) == 2
    assert torch.equal(back.backbone.conv.weight, models[1].backbone.conv.weight)


@pytest.mark.parametrize("found", [2, 0, "1", None])
def test_an_unknown_format_version_is_said_so(make_model, tmp_path, found):
    folder = save_checkpoint(tmp_path / "model", make_model())
    facts = json.loads((folder / "audiotag.json").read_text())
    facts["format_version"] = found
    (folder / "audiotag.json").write_text(json.dumps(facts))
    advice = "Upgrade audiotag" if found == 2 else "may be damaged"
    with pytest.raises(CheckpointError, match=f"format version {found!r}, and this audiotag reads version 1.*{advice}"):
        load_checkpoint(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "audiotag-checkpoint", "format_version": 1}'])
def test_a_damaged_description_is_said_so(make_model, tmp_path, content):
    folder = save_checkpoint(tmp_path / "model", make_model())
    (folder / "audiotag.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model"):
        load_checkpoint(folder)


def _mutated(text, random):
    """A description with one thing changed: bytes, or a value of the document by one of another kind."""
    if random.random() < 0.4:
        content = bytearray(text.encode())
        for _ in range(random.randint(1, 4)):
            place = random.randrange(len(content))
            content[place : place + random.randint(0, 3)] = bytes(random.choices(range(256), k=random.randint(0, 3)))
        return bytes(content)
    document = json.loads(text)
    inner = document
    while True:
        key = random.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        if not isinstance(inner[key], dict | list) or not inner[key] or random.random() < 0.3:
            break
        inner = inner[key]
    odd = [None, True, -1, 0, 1.5, "", "x", [], {}, [[]], {"a": 1}, float("nan"), 10**400, "\0", ["x", 3], 10**30]
    if random.random() < 0.2:
        del inner[key]
    else:
        inner[key] = random.choice(odd)
    return json.dumps(document).encode()


@pytest.mark.filterwarnings("ignore:.*the checkpoint was made with")
def test_whatever_stands_in_the_description_is_an_error_of_ours(make_model, tmp_path):
    model = make_model()
    model.thresholds = np.full(3, 0.4)
    folder = save_checkpoint(tmp_path / "model", model)
    text = (folder / "audiotag.json").read_text()
    refused = 0
    for seed in range(250):
        random = Random(seed)
        content = _mutated(text, random)
        (folder / "audiotag.json").write_bytes(content)
        try:
            loaded = load_checkpoint(folder)
        except AudiotagError as error:
            assert str(folder) in str(error) or isinstance(error, PluginError), content
            refused += 1
        else:
            assert loaded.backbone(torch.zeros(1, 8000)).shape == (1, len(loaded.labels)) and loaded.clip_seconds > 0
    assert 50 < refused < 250


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.pop("labels"), "labels is missing"),
        (
            lambda facts: facts["labels"].append(facts["labels"][0]),
            "labels must name at least one class, and none twice",
        ),
        (lambda facts: facts["labels"][1].update(mid=3), r"labels\[1\]\.mid must be a text, not 3"),
        (lambda facts: facts.update(thresholds=[0.5]), r"thresholds must be as many as the classes \(3\), not 1"),
        (lambda facts: facts.update(thresholds=[0.5, float("nan"), 1]), "thresholds must be a list of finite numbers"),
        (lambda facts: facts.update(single_label="no"), "single_label must be true or false, not 'no'"),
        (lambda facts: facts["metadata"].update(clip_seconds=-2), r"metadata\.clip_seconds must be above 0"),
        (lambda facts: facts["backbone"].update(options=[1]), r"backbone\.options must be an object"),
        (lambda facts: facts["backbone"]["plugin"].pop("version"), r"backbone\.plugin\.version is missing"),
    ],
)
def test_a_wrong_entry_of_the_description_is_named(make_model, tmp_path, change, message):
    folder = save_checkpoint(tmp_path / "model", make_model())
    facts = json.loads((folder / "audiotag.json").read_text())
    change(facts)
    (folder / "audiotag.json").write_text(json.dumps(facts))
    for read in (load_checkpoint, read_facts):
        with pytest.raises(CheckpointError, match=rf"audiotag\.json: {message}.*Copy the checkpoint again"):
            read(folder)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"x\.pt: this is a file.*model=NAME weights=FILE"):
        find_checkpoint(tmp_path / "x.pt")


def test_damaged_weights_are_said_so(make_model, tmp_path):
    folder = save_checkpoint(tmp_path / "model", make_model())
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-10])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: the weights cannot be read"):
        load_checkpoint(folder)


@pytest.mark.parametrize("bad", [float("nan"), -float("inf"), 1e30])
def test_numbers_that_cannot_be_weights_are_not_loaded(make_model, tmp_path, bad):
    folder = save_checkpoint(tmp_path / "model", make_model())
    state = load_file(folder / "model.safetensors")
    state["conv.weight"][0, 0, 0] = bad
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model: 1 entries.*cannot be weights.*: conv\.weight"):
        load_checkpoint(folder)


def test_weights_that_do_not_fit_the_plugin_name_its_version(make_model, tmp_path):
    folder = save_checkpoint(tmp_path / "model", make_model())
    facts = json.loads((folder / "audiotag.json").read_text())
    facts["backbone"]["options"]["width"] = 5
    (folder / "audiotag.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=r"do not fit.*pip install 'audiotag-tiny==1.0'"):
        load_checkpoint(folder)


DEFAULTS = """
from tiny import TinyBackbone

class Net(TinyBackbone):
    def __init__(self, num_classes, width=4, scale=1.0, kind=TinyBackbone):
        super().__init__(num_classes, width)
        self.scale = scale

    def forward_head(self, head_input):
        return super().forward_head(head_input) * self.scale
"""


def test_a_default_that_changes_with_the_plugin_does_not_change_an_old_checkpoint(
    tiny, install_plugin, plugin_folder, tmp_path
):
    def install(version, source):
        for one in plugin_folder.glob("net_of_defaults*"):
            one.unlink() if one.is_file() else shutil.rmtree(one)
        sys.modules.pop("net_of_defaults", None)
        (plugin_folder / "net_of_defaults.py").write_text(source)
        for one in plugin_folder.glob("audiotag_net_plugin-*"):
            shutil.rmtree(one)
        install_plugin(
            "audiotag-net",
            "from audiotag.plugin import BackboneSpec, hookimpl\n@hookimpl\ndef register_backbones():\n"
            "    return [BackboneSpec(name='net', family='net', factory='net_of_defaults:Net', sample_rate=8000,"
            " clip_seconds=1.0, min_seconds=0.1)]",
            version=version,
        )

    install("1.0", DEFAULTS)
    model = Model(create_backbone("net", 3), get_host().backbone("net"), {}, LABELS, "mine")
    sound = torch.linspace(-1, 1, 8000)[None]
    before = model.backbone.eval()(sound)
    folder = save_checkpoint(tmp_path / "model", model)
    assert read_facts(folder)["backbone"]["options"] == {"width": 4, "scale": 1.0}
    assert torch.equal(load_checkpoint(folder).backbone(sound), before)

    install("1.1", DEFAULTS.replace("scale=1.0", "scale=2.0"))
    with pytest.warns(
        AudiotagWarning,
        match=r"was made with audiotag-net 1\.0, and audiotag-net 1\.1 is installed.*audiotag-net==1\.0'",
    ):
        assert torch.equal(load_checkpoint(folder).backbone(sound), before)

    install("1.2", DEFAULTS.replace("scale=1.0, ", "").replace("= scale", "= 1"))
    with pytest.raises(CheckpointError, match=r"audiotag-net 1\.2 cannot make.*no option 'scale'.*audiotag-net==1\.0'"):
        load_checkpoint(folder)
    sys.modules.pop("net_of_defaults", None)


def test_a_missing_plugin_is_named_with_what_to_install(make_model, tmp_path):
    folder = save_checkpoint(tmp_path / "model", make_model())
    shutil.rmtree(tmp_path / "site-packages" / "audiotag_tiny_plugin-1.0.dist-info")
    reset_host()
    with pytest.raises(
        CheckpointError, match=r"needs the model 'tiny' of audiotag-tiny 1.0.*pip install 'audiotag-tiny==1.0'"
    ):
        load_checkpoint(folder)


def test_a_killed_process_leaves_a_whole_checkpoint(make_model, tmp_path, plugin_folder):
    """A real SIGKILL while a process does nothing but save."""
    save_checkpoint(tmp_path / "model", make_model(0))
    program = (
        "import sys; from audiotag.models.checkpoint import load_checkpoint, save_checkpoint\n"
        f"model = load_checkpoint({str(tmp_path / 'model')!r}); print('ready', flush=True)\n"
        f"while True: save_checkpoint({str(tmp_path / 'model')!r}, model)\n"
    )
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(plugin_folder), str(tests)])}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment)
    assert process.stdout.readline() == b"ready\n"
    threading.Event().wait(0.3)
    process.kill()
    process.wait()
    process.stdout.close()
    assert load_checkpoint(tmp_path / "model").name == "mine 0"
    save_checkpoint(tmp_path / "model", make_model(1))
    assert [path.name for path in tmp_path.iterdir() if "model" in path.name] == ["model"]
