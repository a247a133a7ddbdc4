"""On-line learning with an exported folder: the same as with torch, without it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

import audiotag
from audiotag import AnalyticLearner
from audiotag.cli.main import main
from audiotag.continual import OnlineSettings
from audiotag.continual.analytic_training import read_learner
from audiotag.continual.exported_pupil import change_exported_classes
from audiotag.continual.hearing import HeardClip
from audiotag.continual.listening import StreamClip, Waveform, stream_of_lines
from audiotag.continual.online import OnlineEvent, OnlineLearner
from audiotag.continual.store import ClipStore
from audiotag.engines.exported import read_exported
from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.errors import AudiotagError, CheckpointError, OptionError, StoreError, TrainingError
from audiotag.export.export import export_model
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import load_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.heads import change_classes
from audiotag.models.model import Model
from audiotag.training.settings import Situation

RATE = 8000
NAMES = ("low", "high", "noise")

PLUGIN = """
from audiotag.plugin import BackboneSpec, hookimpl

@hookimpl
def register_backbones():
    return [BackboneSpec(
        name="small", family="small", factory="audiotag_small_plugin:small", sample_rate=8000, clip_seconds=1.0,
        min_seconds=0.1, max_seconds=1.5, embedding_dim=6, licence="MIT",
    )]

def small(num_classes, head_type="linear"):
    from tiny import BANDS, TinyBackbone
    from audiotag.plugin import LogMelFrontEnd, kaldi_log_mel

    network = TinyBackbone(num_classes, 6, head_type)
    network.front_end = LogMelFrontEnd(kaldi_log_mel(8000, BANDS))
    return network
"""


@pytest.fixture
def make(tiny: ModuleType, install_plugin: Callable[..., str]) -> Callable[..., Model]:
    install_plugin("audiotag-small", PLUGIN)

    def made(single_label: bool = False, labels: tuple[str, ...] = NAMES, **options: Any) -> Model:
        backbone = create_backbone("small", len(labels), seed=0, **options)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.normal_(0, 0.5, generator=generator)
        spec = get_host().backbone("small")
        labelled = LabelSet.from_names(list(labels), source="test")
        return Model(backbone.eval(), spec, options, labelled, "small", single_label=single_label)

    return made


def wave(number: int) -> np.ndarray:
    """Of three kinds in turn, one in four longer than the network takes at once."""
    generator = np.random.default_rng(number)
    time = np.arange(round(RATE * (0.6 if number % 4 else 2.7))) / RATE
    tone = np.sin(2 * np.pi * (150, 3000, 0)[number % 3] * time)
    return (0.4 * tone + 0.1 * generator.standard_normal(len(time))).astype(np.float32)


def stream(count: int, first: int = 0) -> list[StreamClip]:
    return [
        StreamClip(f"clip {number}", Waveform(wave(number), RATE), (NAMES[number % 3],) if number % 5 else None)
        for number in range(first, first + count)
    ]


def store_in(folder: Path, policy: str = "reservoir", capacity: int = 5) -> ClipStore:
    return ClipStore.create(folder, list(NAMES), policy=policy, capacity=capacity)


def what(event: OnlineEvent) -> tuple[Any, ...]:
    """What must be the same: all but numbers that are rounded."""
    stored = None if event.addition is None else (event.addition.stored, event.addition.evicted)
    return event.position, event.id, event.seconds, event.labels, event.label_source, stored, event.replayed


SETTINGS = (
    {},
    {"optimiser": "adam", "weight_decay": 0.1, "keep": "audio"},
    {"optimiser": "sgd", "learning_rate": 0.1, "weight_decay": 0.01, "momentum": 0.8, "clip_grad_norm": 0.05},
    {"schedule": "cosine", "schedule_clips": 12, "warmup": 3, "steps": 2, "replay": 3, "pseudo_label": 0.6},
)


@pytest.mark.parametrize("single_label", [False, True])
@pytest.mark.parametrize("settings", SETTINGS)
def test_an_exported_folder_learns_what_the_model_learns(
    make: Callable[..., Model], tmp_path: Path, settings: dict[str, Any], single_label: bool
) -> None:
    export_model(make(single_label), tmp_path / "exported")
    heads, told = [], []
    for model in (make(single_label), read_exported(tmp_path / "exported")):
        name = type(model).__name__
        with store_in(tmp_path / name, "herding" if not settings else "reservoir") as store:
            learner = OnlineLearner(model, store, OnlineSettings(**settings), folder=tmp_path / f"{name} run")
            told.append(list(learner.run(stream(24))))
            kept = audiotag.load(tmp_path / f"{name} run")
            heads.append(np.concatenate([kept.logits(wave(number), RATE) for number in range(50, 56)]))
    for one, other in zip(*told, strict=True):
        assert what(one) == what(other)
        assert (one.loss is None) == (other.loss is None)
        assert one.loss is None or other.loss == pytest.approx(one.loss, rel=1e-3)
        assert one.tags is not None and other.tags is not None
        assert dict(one.tags) == pytest.approx(dict(other.tags), abs=1e-3)
    before = np.concatenate(
        [audiotag.load(tmp_path / "exported").logits(wave(number), RATE) for number in range(50, 56)]
    )
    assert np.abs(before - heads[0]).max() > 0.05
    np.testing.assert_allclose(heads[1], heads[0], atol=1e-3 * np.abs(heads[0]).max())


def test_a_run_that_was_stopped_goes_on_bit_for_bit(make: Callable[..., Model], tmp_path: Path) -> None:
    export_model(make(), tmp_path / "exported")
    for name, parts in (("whole", (20,)), ("cut", (7, 13))):
        with store_in(tmp_path / name) as store:
            done = 0
            for count in parts:
                if done:
                    learner = OnlineLearner.resume(tmp_path / f"{name} run", store)
                else:
                    learner = OnlineLearner(
                        read_exported(tmp_path / "exported"), store, OnlineSettings(), folder=tmp_path / f"{name} run"
                    )
                assert learner.position == done
                list(learner.run(stream(count, done)))
                done += count
    for file in ("head.safetensors", "learning.safetensors"):
        whole, cut = (load_file(tmp_path / f"{name} run/last/{file}") for name in ("whole", "cut"))
        assert whole.keys() == cut.keys() and all((whole[key] == cut[key]).all() for key in whole)
    assert audiotag.load(tmp_path / "whole run/last").metadata["online"]["position"] == 20
    with store_in(tmp_path / "more") as store:  # a learned folder learns on, in a run of its own
        again = OnlineLearner(read_exported(tmp_path / "whole run/last"), store, folder=tmp_path / "more run")
        list(again.run(stream(3)))
        with pytest.raises(CheckpointError, match="a run here already"):
            OnlineLearner(read_exported(tmp_path / "exported"), store, folder=tmp_path / "more run")


def test_what_cannot_learn_without_torch_is_refused(make: Callable[..., Model], tmp_path: Path) -> None:
    export_model(make(), tmp_path / "exported")
    export_model(make(head_type="mlp"), tmp_path / "deep")
    for folder, settings, told in (
        ("deep", {}, "more than one linear layer"),
        ("exported", {"freeze_backbone": False}, "the last layer alone"),
        ("exported", {"loss": "focal"}, "for torch only"),
        ("exported", {"optimiser_options": {"amsgrad": True}}, "with options is there for torch only"),
    ):
        with store_in(tmp_path / f"{folder}{len(told)}") as store, pytest.raises(OptionError, match=told):
            OnlineLearner(read_exported(tmp_path / folder), store, OnlineSettings(**settings))
    with store_in(tmp_path / "memory") as store:
        with pytest.raises(OptionError, match="on the CPU"):
            OnlineLearner(read_exported(tmp_path / "exported"), store, device="cuda")
        fast = OnlineSettings(optimiser="sgd", learning_rate=1e30, replay=0)
        with pytest.raises(TrainingError, match="the loss became"), np.errstate(all="ignore"):
            list(OnlineLearner(read_exported(tmp_path / "exported"), store, fast).run(stream(9, 1)))
    with store_in(tmp_path / "of torch") as store:
        list(OnlineLearner(make(), store).run(stream(3)))
        with pytest.raises(StoreError, match="another backbone"):
            OnlineLearner(read_exported(tmp_path / "exported"), store)


def _rewrite(file: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def rewritten(folder: Path) -> None:
        path = folder / file
        if file.endswith(".json"):
            content = json.loads(path.read_text())
            change(content)
            path.write_text(json.dumps(content))
        else:
            arrays = load_file(path)
            change(arrays)
            save_file(arrays, path)

    return rewritten


DAMAGES: list[Callable[[Path], Any]] = [
    lambda folder: (folder / "learning.json").unlink(),
    lambda folder: (folder / "learning.json").write_text("[]"),
    lambda folder: (folder / "learning.safetensors").write_bytes(b"\x80\x05cos\nsystem\n(S'true'\ntR."),
    lambda folder: (folder / "head.safetensors").write_bytes(b""),
    _rewrite("learning.json", lambda content: content["training"].update(steps=-1)),
    _rewrite("learning.json", lambda content: content["training"].pop("learned")),
    _rewrite("learning.json", lambda content: content["online"].update(position="3")),
    _rewrite("learning.json", lambda content: content["online"].update(settings=[])),
    _rewrite("learning.safetensors", lambda arrays: arrays.pop("weight.first")),
    _rewrite("learning.safetensors", lambda arrays: arrays.update({"bias.first": np.zeros(9, np.float32)})),
    _rewrite("head.safetensors", lambda arrays: arrays.update(bias=np.zeros(3, np.float32))),
    _rewrite("head.safetensors", lambda arrays: arrays.update(weight=np.zeros(3, np.float32))),
    _rewrite("head.safetensors", lambda arrays: arrays.update(bias=np.full(3, np.nan, np.float32))),
    _rewrite("audiotag.json", lambda content: content["labels"].append({"mid": "more", "name": "more"})),
    _rewrite("audiotag.json", lambda content: content["network"]["outputs"].append("logits")),
    _rewrite("audiotag.json", lambda content: content["network"]["outputs"].remove("head_bias")),
    _rewrite("audiotag.json", lambda content: content.update(head=None)),
]


def test_damaged_runs_are_refused(make: Callable[..., Model], tmp_path: Path) -> None:
    export_model(make(), tmp_path / "exported")
    with store_in(tmp_path / "memory") as store:
        list(OnlineLearner(read_exported(tmp_path / "exported"), store, folder=tmp_path / "run").run(stream(3)))
        for number, damage in enumerate(DAMAGES):
            run = shutil.copytree(tmp_path / "run", tmp_path / f"run {number}")
            assert OnlineLearner.resume(run, store).position == 3
            damage(run / "last")
            with pytest.raises(AudiotagError):
                OnlineLearner.resume(run, store)


def test_rows_of_classes_that_stay_are_carried_over_by_mid(make: Callable[..., Model], tmp_path: Path) -> None:
    model = make()
    model.thresholds = np.array([0.2, 0.3, 0.4])
    export_model(model, tmp_path / "exported")
    labels = LabelSet.from_names(["bell", "noise", "low"], source="test")
    changed, change = change_exported_classes(read_exported(tmp_path / "exported"), labels, seed=3)
    assert (change.kept, change.added, change.dropped) == (("noise", "low"), ("bell",), ("high",))
    before, after = OnnxEngine(tmp_path / "exported").head(), changed.head
    assert after is not None and changed.thresholds is not None
    assert changed.thresholds.tolist() == [0.5, 0.4, 0.2]
    for now, then in ((1, 2), (2, 0)):
        assert (after.weight[now] == before.weight[then]).all() and after.bias[now] == before.bias[then]
    assert after.bias[0] == 0 and 0 < np.abs(after.weight[0]).max() < 0.1
    same, _ = change_exported_classes(read_exported(tmp_path / "exported"), labels, seed=3)
    assert same.head is not None and same.head.digest == after.digest


COMMAND = """
from audiotag.cli.main import run
sys.argv = ["audiotag", *sys.argv[1:]]
run()
"""


def test_the_command_learns_new_classes_without_torch(
    make: Callable[..., Model], tmp_path: Path, run_light: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    rows = []
    for number in range(12):
        soundfile.write(tmp_path / f"{number}.wav", wave(number), RATE)
        rows.append(f"{number}.wav,{NAMES[number % 3]}\n")
    (tmp_path / "clips.csv").write_text("path,labels\n" + "".join(rows))
    export_model(make(labels=("low", "high", "bell")), tmp_path / "exported")
    (tmp_path / "names.csv").write_text("index,mid,display_name\n0,noise,noise\n1,high,high\n2,low,low\n")
    with ClipStore.create(tmp_path / "memory", list(NAMES), policy="reservoir", capacity=5):
        pass
    shared = ["--store", tmp_path / "memory", "--stream", tmp_path / "clips.csv", "--output", tmp_path / "run"]
    begin = ["online", "--model", tmp_path / "exported", "--labels", tmp_path / "names.csv", *shared, "--json"]
    done = run_light(COMMAND, *begin)
    assert done.returncode == 0, done.stderr
    assert "1 added" in done.stderr and "1 dropped" in done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["labels"] for event in events] == [[NAMES[number % 3]] for number in range(12)]
    assert all(event["loss"] > 0 and event["error"] is None for event in events)
    tagger = audiotag.load(tmp_path / "run")
    assert tagger.labels.names == ("noise", "high", "low")
    done = run_light(COMMAND, "infer", "--model", tmp_path / "run", tmp_path / "1.wav", "--top", "1")
    assert done.returncode == 0, done.stderr
    assert tagger.tag(tmp_path / "1.wav").labels[0] in done.stdout
    refused = CliRunner().invoke(main, [*map(str, begin), "--option", "width=3"])
    assert refused.exit_code == 1 and "which has its own" in str(refused.exception)


ANALYTIC = OnlineSettings(learner="analytic", checkpoint_every=4)


@pytest.mark.parametrize("single_label", [False, True])
@pytest.mark.parametrize("head_type", ["linear", "mlp"])
def test_the_analytic_learner_needs_no_store(
    make: Callable[..., Model], tmp_path: Path, single_label: bool, head_type: str
) -> None:
    export_model(make(single_label, head_type=head_type), tmp_path / "exported")
    scores, known = [], []
    for model in (make(single_label, head_type=head_type), read_exported(tmp_path / "exported")):
        folder = tmp_path / f"{type(model).__name__} run"
        learner = OnlineLearner(model, None, ANALYTIC, folder=folder)
        events = list(learner.run(stream(30)))
        assert sum(event.loss is not None for event in events) == 24
        assert all(event.addition is None and event.error is None for event in events)
        early, late = ([event.loss for event in events if event.loss][part] for part in (slice(6), slice(-6, None)))
        assert np.mean(late) < np.mean(early)
        tagger = audiotag.load(folder)
        found = np.concatenate([tagger.scores(wave(number), RATE) for number in range(50, 59)])
        learnt = AnalyticLearner.load(folder / "last" / "learner.safetensors")
        embeddings = np.concatenate([tagger.embed(wave(number), RATE) for number in range(51, 54)])
        np.testing.assert_allclose(found[1:4], learnt.scores(embeddings), atol=1e-4)
        assert (found.argmax(axis=1) == np.arange(50, 59) % 3).mean() > 0.7
        scores.append(found)
        known.append(learnt)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)
    assert known[0].origin == known[1].origin  # a device with the export and one with the model have one network
    assert known[0].merge(known[1]).clips == 48


@pytest.mark.parametrize("exported", [False, True])
def test_the_analytic_learner_goes_on_bit_for_bit(make: Callable[..., Model], tmp_path: Path, exported: bool) -> None:
    export_model(make(), tmp_path / "exported")
    for name, parts in (("whole", (20,)), ("cut", (7, 13))):
        for first, count in zip((0, *parts), parts, strict=False):
            if first:
                learner = OnlineLearner.resume(tmp_path / name, None)
            else:
                model = read_exported(tmp_path / "exported") if exported else make()
                learner = OnlineLearner(model, None, ANALYTIC, folder=tmp_path / name)
            assert learner.position == first
            list(learner.run(stream(count, first)))
    files = ("learner.safetensors", "head.safetensors" if exported else "model.safetensors")
    for file in files:
        assert (tmp_path / "whole" / "last" / file).read_bytes() == (tmp_path / "cut" / "last" / file).read_bytes()


def test_a_kill_loses_no_clip_and_counts_none_twice(make: Callable[..., Model], tmp_path: Path) -> None:
    learner = OnlineLearner(make(), None, ANALYTIC, folder=tmp_path / "run")
    for clip in stream(6):
        learner.hear(clip)  # killed here: nothing was saved since the beginning
    again = OnlineLearner.resume(tmp_path / "run", None)
    assert again.position == 0
    list(again.run(stream(6)))
    known = read_learner(tmp_path / "run")
    assert known is not None and known.clips == 4


def test_the_analytic_learner_goes_on_from_a_model_that_it_taught(make: Callable[..., Model], tmp_path: Path) -> None:
    list(OnlineLearner(make(), None, ANALYTIC, folder=tmp_path / "first").run(stream(10)))
    model, known = load_checkpoint(tmp_path / "first" / "last"), read_learner(tmp_path / "first")
    change_classes(model, LabelSet.from_names(["bell", *reversed(NAMES)]))
    list(OnlineLearner(model, None, ANALYTIC, folder=tmp_path / "second", known=known).run(stream(10, 10)))
    found = read_learner(tmp_path / "second")
    export_model(tmp_path / "second", tmp_path / "exported")  # a device goes on with the export
    exported = read_exported(tmp_path / "exported")
    device = OnlineLearner(
        exported, None, ANALYTIC, folder=tmp_path / "device", known=read_learner(tmp_path / "exported")
    )
    list(device.run(stream(5, 20)))
    on_device = read_learner(tmp_path / "device")
    assert on_device is not None and on_device.clips == 20 and device.model.labels.names[0] == "bell"
    assert found is not None and found.clips == 16 and found.labels.names == ("bell", "noise", "high", "low")
    assert found.counts[0] == 0 and audiotag.load(tmp_path / "second").scores(wave(1), RATE)[0, 0] == 0
    other = make()
    with torch.no_grad():
        next(iter(other.backbone.parameters())).add_(0.1)
    with pytest.raises(OptionError, match="another network"):
        OnlineLearner(other, None, ANALYTIC, known=found)
    with pytest.raises(OptionError, match="any number of classes"):
        OnlineLearner(replace(model, single_label=True), None, ANALYTIC, known=found)


def test_the_analytic_learner_fills_a_store_too(make: Callable[..., Model], tmp_path: Path) -> None:
    with store_in(tmp_path / "memory", "herding") as store:
        events = list(OnlineLearner(make(), store, ANALYTIC, folder=tmp_path / "run").run(stream(12)))
        assert len(store) == 5 and sum(event.addition is not None for event in events) == 9
        assert not any(event.replayed for event in events)


@pytest.mark.parametrize(
    "wrong",
    [
        {"learner": "analytic", "replay": 3},
        {"learner": "analytic", "loss": "focal", "learning_rate": 0.1},
        {"learner": "analytic", "freeze_backbone": False},
        {"forgetting": 0.9},
    ],
)
def test_settings_of_the_other_learner_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=", ".join(name for name in wrong if name != "learner")):
        OnlineSettings(**wrong).resolve(Situation(single_label=False, pretrained=True))


def test_what_has_no_embedding_is_an_error_of_the_clip(make: Callable[..., Model], tmp_path: Path) -> None:
    learner = OnlineLearner(make(), None, ANALYTIC)
    learner.pupil.hearing.hear_waveform = lambda *given: HeardClip(np.zeros(3), np.zeros((1, 6), np.float32), 1.0)
    event = learner.hear(stream(2)[1])
    assert event.loss is None and "zero" in str(event.error) and learner.position == 1
    with pytest.raises(OptionError, match="no store"):
        OnlineLearner(make(), None)


@pytest.mark.parametrize("learner", ["gradient", "analytic"])
def test_an_answer_that_comes_later_is_learnt(make: Callable[..., Model], tmp_path: Path, learner: str) -> None:
    export_model(make(), tmp_path / "exported")
    settings = OnlineSettings(learner=learner, ask_below=1.0, ask_capacity=2)
    bare = [StreamClip(clip.id, clip.sound) for clip in stream(4)]
    for name, model in (("later", read_exported(tmp_path / "exported")), ("network", make())):
        with store_in(tmp_path / f"{name} store") as store:
            online = OnlineLearner(model, store, settings, folder=tmp_path / name)
            events = list(online.run(bare))
            assert all(event.confidence is not None and event.loss is None for event in events)
            assert events[0].asked and events[1].asked
            waiting = [one.id for one in online._asking]
            assert len(waiting) == 2
            again = OnlineLearner.resume(tmp_path / name, store)
            answers = [StreamClip(one, None, (NAMES[int(one[-1]) % 3],)) for one in [*waiting, "clip 9", waiting[0]]]
            told = list(again.run(answers))
            assert [event.error is None for event in told] == [True, True, False, False]
            assert "nothing is kept" in str(told[2].error) and told[0].loss is not None and not told[0].asked
            assert sorted(clip.id for clip in store) == sorted(waiting)
    with pytest.raises(OptionError, match="ask_below"):
        OnlineSettings(ask_below=0.5, freeze_backbone=False).resolve(Situation(single_label=False, pretrained=True))


def test_an_answer_is_the_clip_itself(make: Callable[..., Model], tmp_path: Path) -> None:
    """What is learnt from a kept embedding is what would have been learnt from the labelled clip."""
    clips = stream(6)
    told = OnlineLearner(make(), None, ANALYTIC, folder=tmp_path / "told")
    list(told.run(clips[:5]))
    told.hear(replace(clips[5], labels=(NAMES[2],)))
    told.save()
    later = OnlineLearner(make(), None, ANALYTIC.replaced(ask_below=1.0), folder=tmp_path / "later")
    list(later.run([*clips[:5], replace(clips[5], labels=None)]))
    (line,) = stream_of_lines([json.dumps({"id": "clip 5", "labels": "noise"})], LabelSet.from_names(NAMES))
    later.hear(line)
    later.save()
    one, other = (read_learner(tmp_path / name) for name in ("told", "later"))
    assert one is not None and other is not None and (one.sums.gram == other.sums.gram).all()


def test_the_command_learns_in_closed_form_without_torch(
    make: Callable[..., Model], tmp_path: Path, run_light: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    rows = []
    for number in range(9):
        soundfile.write(tmp_path / f"{number}.wav", wave(number), RATE)
        rows.append(f"{number}.wav,{NAMES[number % 3]}\n")
    (tmp_path / "clips.csv").write_text("path,labels\n" + "".join(rows))
    (tmp_path / "names.csv").write_text("index,mid,display_name\n0,noise,noise\n1,high,high\n2,low,low\n")
    export_model(make(labels=("low", "bell"), head_type="mlp"), tmp_path / "exported")
    arguments = ["online", "--learner", "analytic", "--model", tmp_path / "exported"]
    arguments += ["--labels", tmp_path / "names.csv", "--stream", tmp_path / "clips.csv", "--output", tmp_path / "run"]
    done = run_light(COMMAND, *arguments)
    assert done.returncode == 0, done.stderr
    assert "9 learnt, the model in" in done.stderr and "no clip yet" in done.stderr
    done = run_light(COMMAND, "infer", "--model", tmp_path / "run", tmp_path / "1.wav", "--top", "1")
    assert done.returncode == 0 and "high" in done.stdout, done.stderr
    arguments[-1] = tmp_path / "another"
    refused = CliRunner().invoke(main, [*map(str, arguments), "--steps", "4"])
    assert refused.exit_code == 1 and "do nothing in the analytic learner" in str(refused.exception)
