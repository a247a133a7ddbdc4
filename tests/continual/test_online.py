"""The on-line learner: what it does with a clip, stopping and going on, and crashes."""

from __future__ import annotations

import importlib
import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from audiotag.continual.create import create_policy
from audiotag.continual.home import train_on_audio_only
from audiotag.continual.listening import StreamClip, Waveform, read_stream, stream_of_lines
from audiotag.continual.online import OnlineLearner
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.policy import Example
from audiotag.continual.store import ClipStore, Payload
from audiotag.data.clips import Clip
from audiotag.errors import AudioError, AudiotagWarning, CheckpointError, OptionError, StoreError, TrainingError
from audiotag.folders import current_folder
from audiotag.host import get_host, reset_host
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.checkpoint import load_checkpoint
from audiotag.models.create import create_backbone
from audiotag.models.facts import TRAINING_FILE
from audiotag.models.model import Model
from audiotag.training.settings import Situation

RATE = 8000
NAMES = ("low", "high")


def wave(number, seconds=0.3):
    generator = np.random.default_rng(number)
    time = np.arange(round(RATE * seconds)) / RATE
    pitch = 150 if number % 2 == 0 else 3000
    return (0.5 * np.sin(2 * np.pi * pitch * time) + 0.05 * generator.standard_normal(len(time))).astype(np.float32)


def clips(count, first=0, labelled=True):
    """Tones in memory, of two lengths, low and high in turn; with *labelled* a function, those it takes have labels."""
    return [
        StreamClip(
            f"clip {number}",
            Waveform(wave(number, 0.3 if number % 3 else 0.5), RATE),
            (NAMES[number % 2],) if labelled is True or (labelled and labelled(number)) else None,
        )
        for number in range(first, first + count)
    ]


def fresh(labels=NAMES, name="tiny", seed=0, single_label=False, **options):
    backbone = create_backbone(name, len(labels), seed=seed, **options).eval()
    return Model(
        backbone, get_host().backbone(name), options, LabelSet.from_names(labels), name, single_label=single_label
    )


def store_in(folder, capacity=6, policy="reservoir", **options):
    return ClipStore.create(folder, list(NAMES), policy=policy, capacity=capacity, **options)


def same(one, two):
    one, two = one.backbone.state_dict(), two.backbone.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def contents(store):
    return [(clip.id, clip.labels, clip.sha256) for clip in store], store.statistics().observed.tolist()


FROZEN = OnlineSettings(replay=3, steps=2, checkpoint_every=4, learning_rate=0.01)
WHOLE = OnlineSettings(replay=2, steps=1, checkpoint_every=4, freeze_backbone=False)


def test_a_clip_is_tagged_offered_and_learnt(tiny, tmp_path):
    with store_in(tmp_path / "s") as store:
        learner = OnlineLearner(fresh(), store, FROZEN)
        (first, second) = learner.run(clips(2))
        assert (first.position, first.id, first.labels, first.label_source) == (1, "clip 0", ("low",), "given")
        assert first.addition.stored and first.loss > 0 and first.replayed == 0
        assert len(first.tags) == 2 and first.seconds == 0.5
        assert second.replayed == 1  # the first, never itself
        assert store.statistics().observed.tolist() == [1, 1]
        assert store.clip("clip 0").embedding().shape == (1, 4)


def test_only_the_head_learns_and_it_does(tiny, tmp_path):
    model = fresh(width=16)
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    with store_in(tmp_path / "s", 10) as store:
        settings = OnlineSettings(replay=8, learning_rate=0.1)
        events = list(OnlineLearner(model, store, settings).run(clips(40)))
    assert np.mean([event.loss for event in events[-5:]]) < 0.5 * np.mean([event.loss for event in events[:5]])
    head = set(model.backbone.head_keys())
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[key]) == (key not in head), key
    scores = Tagger(model).scores(wave(1), RATE)[0]
    assert scores[1] > 0.7 > 0.3 > scores[0]


def test_the_whole_network_learns_with_fixed_statistics(tiny, tmp_path):
    model = fresh()
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    with store_in(tmp_path / "s") as store:
        list(OnlineLearner(model, store, WHOLE).run(clips(3)))
        assert {clip.kind for clip in store} == {"audio"}
    after = model.backbone.state_dict()
    assert not torch.equal(after["conv.weight"], before["conv.weight"])
    for key in ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked"):
        assert torch.equal(after[key], before[key])


@pytest.mark.parametrize("settings", [FROZEN, WHOLE, OnlineSettings(keep="audio", replay=3, checkpoint_every=4)])
@pytest.mark.parametrize("policy", ["reservoir", "class_balanced", "distribution_matching"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(tiny, tmp_path, settings, policy):
    stream = clips(14, labelled=lambda number: number % 4 != 3)
    with store_in(tmp_path / "whole", 4, policy) as store:
        whole = fresh()
        list(OnlineLearner(whole, store, settings, folder=tmp_path / "run").run(stream))
        expected = contents(store)
    with store_in(tmp_path / "cut", 4, policy) as store:
        first = OnlineLearner(fresh(), store, settings, folder=tmp_path / "cut run")
        answers = iter([False] * 5 + [True])
        assert len(list(first.run(stream, stop=lambda: next(answers)))) == 6
    with ClipStore(tmp_path / "cut") as store:
        again = OnlineLearner.resume(tmp_path / "cut run", store, settings)
        assert again.position == 6
        events = again.run(stream[6:])
        next(events)
        events.close()  # the caller may leave at any clip, too
        again = OnlineLearner.resume(tmp_path / "cut run", store)
        assert again.position == 7
        list(again.run(stream[7:]))
        assert contents(store) == expected
        assert not store.verify().problems
    assert same(load_checkpoint(tmp_path / "run" / "last"), again.model)
    assert same(load_checkpoint(tmp_path / "cut run" / "last"), whole)


class Killed(Exception):
    """The process is gone; nobody catches this and nothing is saved."""


def killed_run(monkeypatch, learner, stream, *, during):
    """Run until the clip of the number *during* has been offered, and not learnt from."""
    learn = type(learner.pupil.training).learn

    def dying(self, *arguments):
        if learner.position == during - 1:
            raise Killed
        return learn(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(type(learner.pupil.training), "learn", dying)
        with pytest.raises(Killed):
            list(learner.run(stream))


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("during", [1, 6, 8])
def test_after_a_kill_no_clip_is_offered_twice_and_none_is_left_out(tiny, tmp_path, monkeypatch, every, during):
    settings = OnlineSettings(replay=3, steps=2, checkpoint_every=every)
    stream = clips(10)
    with store_in(tmp_path / "whole", 2, "fifo") as store:
        whole = OnlineLearner(fresh(), store, settings, folder=tmp_path / "run")
        list(whole.run(stream))
        expected = contents(store)
    with store_in(tmp_path / "cut", 2, "fifo") as store:
        learner = OnlineLearner(fresh(), store, settings, folder=tmp_path / "cut run")
        killed_run(monkeypatch, learner, stream, during=during)
    with ClipStore(tmp_path / "cut") as store:
        assert store.offers == during
        again = OnlineLearner.resume(tmp_path / "cut run", store)
        assert again.position == (during - 1) // every * every
        events = list(again.run(stream[again.position :]))
        assert [event.offered_before for event in events] == [event.position <= during for event in events]
        assert all(event.loss is not None for event in events)
        assert store.offers == 10
        assert contents(store) == expected
    if every == 1:
        assert same(again.model, whole.model)


def test_a_feeder_that_cannot_rewind_sends_the_unanswered_clip_again(tiny, tmp_path, monkeypatch):
    with store_in(tmp_path / "s", 0) as store:
        learner = OnlineLearner(fresh(), store, FROZEN, folder=tmp_path / "run")
        killed_run(monkeypatch, learner, clips(7), during=7)
        again = OnlineLearner.resume(tmp_path / "run", store, rewinds=False)
        assert again.position == 7
        events = list(again.run(clips(2, first=6)))
        assert [(event.id, event.offered_before) for event in events] == [("clip 6", True), ("clip 7", False)]
        assert store.offers == 8


def test_unlabelled_clips_are_observed_by_their_tags(tiny, tmp_path):
    with store_in(tmp_path / "s") as store:
        event = OnlineLearner(fresh(), store, OnlineSettings(threshold=0.0)).hear(clips(1, labelled=False)[0])
        assert event.addition is None and event.loss is None and event.label_source is None
        assert store.statistics().observed.tolist() == [1, 1]
        assert store.offers == 0


def test_after_a_kill_no_unlabelled_clip_is_counted_twice(tiny, tmp_path, monkeypatch):
    settings = OnlineSettings(threshold=0.0, checkpoint_every=100)
    stream = clips(6, labelled=False)
    with store_in(tmp_path / "s") as store:
        learner = OnlineLearner(fresh(), store, settings, folder=tmp_path / "run")
        learner.save()
        for clip in stream[:4]:
            learner.hear(clip)  # and then the power fails: nothing is saved
    with ClipStore(tmp_path / "s") as store:
        again = OnlineLearner.resume(tmp_path / "run", store)
        assert again.position == 0
        list(again.run(stream))
        assert store.statistics().observed.tolist() == [6, 6]


def test_pseudo_labels_come_from_the_model_above_a_confidence(tiny, tmp_path):
    model = fresh(single_label=True)
    with torch.no_grad():
        model.backbone.classifier[0].bias.copy_(torch.tensor([0.0, 9.0]))
    with store_in(tmp_path / "s") as store:
        learner = OnlineLearner(model, store, OnlineSettings(pseudo_label=0.9))
        event = learner.hear(clips(1, labelled=False)[0])
        assert (event.labels, event.label_source) == (("high",), "model")
        assert event.addition.stored and event.loss is not None
        given = learner.hear(clips(1, first=2)[0])
        assert (given.labels, given.label_source) == (("low",), "given")
    with store_in(tmp_path / "t") as store:
        unsure = OnlineLearner(fresh(single_label=True), store, OnlineSettings(pseudo_label=1.0))
        assert unsure.hear(clips(1, labelled=False)[0]).label_source is None


def test_a_teacher_labels_by_mid(tiny, tmp_path):
    teacher = fresh(("other", "high", "low"))
    with torch.no_grad():
        teacher.backbone.classifier[0].bias.copy_(torch.tensor([9.0, -9.0, 9.0]))
    with store_in(tmp_path / "s") as store:
        learner = OnlineLearner(fresh(), store, OnlineSettings(pseudo_label=0.9), teacher=Tagger(teacher))
        event = learner.hear(clips(1, labelled=False)[0])
        assert (event.labels, event.label_source) == (("low",), "teacher")
        with pytest.raises(OptionError, match="none of the model's classes"):
            OnlineLearner(fresh(), store, OnlineSettings(pseudo_label=0.9), teacher=Tagger(fresh(("x", "y"))))


def test_what_cannot_be_read_is_passed_over(tiny, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    bad = StreamClip("bad", Clip("bad", tmp_path / "bad.wav"), ("low",))
    with store_in(tmp_path / "s") as store:
        learner = OnlineLearner(fresh(), store, FROZEN)
        events = list(learner.run([bad, *clips(1)]))
        assert isinstance(events[0].error, AudioError) and events[0].loss is None
        assert events[1].position == 2 and events[1].addition.stored
        assert store.offers == 1


def test_a_stored_clip_that_is_damaged_does_not_end_the_run(tiny, tmp_path):
    with store_in(tmp_path / "s") as store:
        learner = OnlineLearner(fresh(), store, FROZEN)
        list(learner.run(clips(3)))
        damaged = store.clip("clip 1").path
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x7f")
        learner = OnlineLearner(fresh(), store, FROZEN)
        with pytest.warns(RuntimeWarning, match="left out of replay"):
            event = learner.hear(clips(1, first=3)[0])
        assert event.replayed == 2 and event.error is None


def test_scores_that_are_not_finite_are_an_error_of_the_clip(tiny, tmp_path):
    loud = StreamClip("loud", Waveform(np.full(2400, 3e38, dtype=np.float32), RATE), ("low",))
    with store_in(tmp_path / "s") as store:
        learner = OnlineLearner(fresh(), store, FROZEN)
        events = list(learner.run([loud, *clips(1)]))
        assert isinstance(events[0].error, AudioError) and events[0].loss is None
        assert events[1].error is None and events[1].addition.stored
        assert store.offers == 1


def test_what_was_done_before_an_error_is_not_done_again(tiny, tmp_path, monkeypatch):
    with store_in(tmp_path / "s") as store:
        learner = OnlineLearner(fresh(), store, FROZEN, folder=tmp_path / "run")
        stream = clips(5)
        with monkeypatch.context() as patch, pytest.raises(StoreError):
            events = learner.run(stream)
            next(events), next(events)

            def full(*arguments, **more):
                raise StoreError("the disk is full")

            patch.setattr(store, "add", full)
            next(events)
        again = OnlineLearner.resume(tmp_path / "run", store)
        assert again.position == 2
        assert [event.offered_before for event in again.run(stream[2:])] == [False] * 3


def test_the_store_may_be_changed_by_others_meanwhile(tiny, tmp_path):
    with store_in(tmp_path / "s", 5, "fifo") as store, ClipStore(tmp_path / "s") as other:
        learner = OnlineLearner(fresh(), store, FROZEN)
        list(learner.run(clips(3)))
        for number in (50, 51):
            other.add(f"other {number}", Payload.from_waveform(wave(number), RATE), [NAMES[number % 2]])
        event = learner.hear(clips(1, first=3)[0])
        assert event.replayed == 3
        assert [clip.id for clip in store] == ["clip 1", "clip 2", "other 50", "other 51", "clip 3"]


def test_embeddings_of_another_backbone_are_refused(tiny, tmp_path):
    with store_in(tmp_path / "s") as store:
        OnlineLearner(fresh(), store, FROZEN).hear(clips(1)[0])
        with pytest.raises(StoreError, match="another backbone"):
            OnlineLearner(fresh(seed=1), store, FROZEN)
        with pytest.raises(StoreError, match="backbone that is trained"):
            OnlineLearner(fresh(), store, WHOLE)
        OnlineLearner(fresh(), store, FROZEN)


def test_a_run_is_not_begun_over_another_nor_gone_on_with_otherwise(tiny, tmp_path):
    with store_in(tmp_path / "s") as store:
        list(OnlineLearner(fresh(), store, FROZEN, folder=tmp_path / "run").run(clips(1)))
        with pytest.raises(CheckpointError, match="a run here already"):
            OnlineLearner(fresh(), store, FROZEN, folder=tmp_path / "run")
        with pytest.raises(TrainingError, match="replay, seed"):
            OnlineLearner.resume(
                tmp_path / "run",
                store,
                OnlineSettings(replay=4, steps=2, learning_rate=0.01, seed=5, checkpoint_every=9),
            )
        with pytest.raises(CheckpointError):
            OnlineLearner.resume(tmp_path / "nothing", store)


def test_going_on_without_the_plugin_of_the_loss_says_what_to_install(tiny, tmp_path, install_plugin):
    source = (
        "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\ndef register_losses():\n"
        "    return [LossSpec(name='lent', factory='audiotag.training.losses:BinaryCrossEntropy', summary='lent')]"
    )
    install_plugin("audiotag-lender", source, entry="lender", version="1.2")
    settings = OnlineSettings(loss="lent")
    with store_in(tmp_path / "s") as store:
        list(OnlineLearner(fresh(), store, settings, folder=tmp_path / "run").run(clips(1)))
        assert OnlineLearner.resume(tmp_path / "run", store).position == 1
        shutil.rmtree(next((tmp_path / "site-packages").glob("audiotag_lender*.dist-info")))
        reset_host()
        with pytest.raises(TrainingError, match=r"the loss 'lent' of audiotag-lender 1.2.*'audiotag-lender==1.2'"):
            OnlineLearner.resume(tmp_path / "run", store)


def test_going_on_with_another_version_of_the_loss_says_so(tiny, tmp_path, install_plugin):
    source = (
        "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\ndef register_losses():\n"
        "    return [LossSpec(name='lent', factory='audiotag.training.losses:BinaryCrossEntropy', summary='lent')]"
    )
    install_plugin("audiotag-lender", source, entry="lender", version="1.2")
    with store_in(tmp_path / "s") as store:
        list(OnlineLearner(fresh(), store, OnlineSettings(loss="lent"), folder=tmp_path / "run").run(clips(1)))
        shutil.rmtree(next((tmp_path / "site-packages").glob("audiotag_lender*.dist-info")))
        install_plugin("audiotag-lender", source, entry="lender", version="1.3")
        with pytest.warns(AudiotagWarning, match=r"the run began with audiotag-lender 1\.2, and audiotag-lender 1\.3"):
            OnlineLearner.resume(tmp_path / "run", store)


def test_a_record_of_the_plugins_that_is_damaged_is_said(tiny, tmp_path):
    with store_in(tmp_path / "s") as store:
        list(OnlineLearner(fresh(), store, folder=tmp_path / "run").run(clips(1)))
        path = current_folder(tmp_path / "run" / "last") / TRAINING_FILE
        content = torch.load(path, weights_only=True)
        content["online"]["plugins"]["loss bce"] = ["audiotag"]
        torch.save(content, path)
        with pytest.raises(CheckpointError, match="must be a distribution and its version"):
            OnlineLearner.resume(tmp_path / "run", store)


@pytest.mark.parametrize(
    "wrong",
    [
        {"replay": -1},
        {"checkpoint_every": 0},
        {"pseudo_label": 1.5},
        {"keep": "video"},
        {"keep": "embedding", "freeze_backbone": False},
        {"schedule": "cosine"},
        {"optimiser": "lion"},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(OptionError, match="settings: "):
        OnlineSettings(**wrong).resolve(Situation(single_label=False, pretrained=True))


def test_cross_entropy_needs_a_model_of_one_class_a_clip(tiny, tmp_path):
    with store_in(tmp_path / "s") as store, pytest.raises(OptionError, match="exactly one class"):
        OnlineLearner(fresh(), store, OnlineSettings(loss="ce"))


BACKBONES = [
    ("tiny", {"head_type": "mlp"}),
    ("mn", {"width_mult": 0.1, "head_type": "mlp"}),
    ("mn", {"width_mult": 0.1, "head_type": "fully_convolutional"}),
    ("mn", {"width_mult": 0.1, "head_type": "multihead_attention_pooling"}),
    ("dymn", {"width_mult": 0.1}),
    ("equiav", {"depth": 1, "width": 16, "heads": 2, "target_length": 64, "projection_dim": 16, "head": "mlp"}),
]


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize(("name", "options"), BACKBONES, ids=lambda value: str(value)[:40])
def test_a_batch_of_one_works_for_every_backbone(tiny, tmp_path, name, options, frozen):
    if name not in get_host().backbones:
        pytest.skip(f"{name} is not installed")
    model = fresh(name=name, **options)
    buffers = {key: value.clone() for key, value in model.backbone.named_buffers()}
    with store_in(tmp_path / "s") as store:
        learner = OnlineLearner(model, store, OnlineSettings(freeze_backbone=frozen, steps=1, replay=1))
        events = list(learner.run(clips(2)))
    assert [event.replayed for event in events] == [0, 1]  # alone, then with a clip of another length
    assert all(np.isfinite(event.loss) for event in events)
    for key, value in model.backbone.named_buffers():
        assert torch.equal(value, buffers[key]), key


def test_recordings_longer_than_one_pass_are_learnt_in_pieces(tiny, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.tile(wave(0), 250), RATE)
    long = StreamClip("long", Clip("long", tmp_path / "long.wav"), ("low",))
    model = fresh()
    with store_in(tmp_path / "s") as store:
        expected = Tagger(model, accelerate=False).tag(tmp_path / "long.wav")
        event = OnlineLearner(model, store, FROZEN).hear(long)
        assert store.clip("long").embedding().shape == (75, 4)
    assert event.tags.labels == expected.labels
    np.testing.assert_allclose(event.tags.scores, expected.scores, atol=1e-5)


def test_train_on_audio_only_learns_from_one_clip(tiny, tmp_path):
    soundfile.write(tmp_path / "low.wav", wave(0), RATE)
    model, twin = fresh(), fresh()
    losses = train_on_audio_only(model, tmp_path / "low.wav", ["low"], learning_rate=0.01)
    assert len(losses) == 50 and losses[-1] < losses[0]
    assert train_on_audio_only(twin, wave(0), ["low"], sample_rate=RATE, learning_rate=0.01)[0] == pytest.approx(
        losses[0]
    )
    for key, value in fresh().backbone.state_dict().items():
        assert torch.equal(value, model.backbone.state_dict()[key]) == (not key.startswith("classifier")), key
    with pytest.raises(OptionError, match="list of classes"):
        train_on_audio_only(model, tmp_path / "low.wav", "low")
    with pytest.raises(OptionError, match="sample_rate"):
        train_on_audio_only(model, wave(0), ["low"])


def test_streams_from_a_list_a_folder_and_class_folders(tiny, tmp_path):
    labels = LabelSet.from_names(NAMES)
    for name in ("low", "high"):
        (tmp_path / "classes" / name).mkdir(parents=True)
        soundfile.write(tmp_path / "classes" / name / "a.wav", wave(0), RATE)
    found, _ = read_stream(tmp_path / "classes", labels)
    assert [(clip.sound.path.parent.name, clip.labels) for clip in found] == [("high", ("high",)), ("low", ("low",))]
    found, _ = read_stream(tmp_path / "classes" / "low", labels)
    assert [(clip.id, clip.labels) for clip in found] == [("a.wav", None)]
    entries = [{"video_id": "x", "wav": "low/a.wav", "labels": "low"}, {"video_id": "y", "wav": "high/a.wav"}]
    (tmp_path / "classes" / "list.json").write_text(json.dumps({"data": entries}))
    found, _ = read_stream(tmp_path / "classes" / "list.json", labels)
    assert [(clip.id, clip.labels) for clip in found] == [("x", ("low",)), ("y", None)]


def test_streams_of_lines():
    labels = LabelSet.from_names(["low", "high", "low, far"])
    lines = [
        "a b.wav\n",
        "\n",
        '{"wav": "c.wav", "labels": ["high"], "id": "evening", "start": 1, "stop": 2.5}',
        '{"wav": "c.wav", "labels": "low, far"}',
        '{"wav": "c.wav", "labels": "low, high, low"}',
        '{"wav": "c.wav", "labels": "lowest"}',
        "{broken",
        "last.wav",
    ]
    found = list(stream_of_lines(lines, labels, first=10))
    assert [clip.id for clip in found] == [
        "a b.wav #11", "evening", "c.wav #13", "c.wav #14", "line 15", "line 16", "last.wav #17",
    ]  # fmt: skip
    assert [clip.labels for clip in found] == [None, ("high",), ("low, far",), ("low", "high"), None, None, None]
    assert (found[1].sound.start, found[1].sound.stop) == (1.0, 2.5)
    assert [clip.problem is None for clip in found] == [True, True, True, True, False, False, True]


@pytest.mark.parametrize("settings", [FROZEN, WHOLE.replaced(steps=0)])
def test_a_policy_sees_the_embedding_of_each_clip(tiny, tmp_path, settings):
    model = fresh()
    expected = create_policy("herding", 6, len(NAMES))
    tagger = Tagger(fresh(), device="cpu")
    with store_in(tmp_path / "s", policy="herding") as store:
        for event in OnlineLearner(model, store, settings).run(clips(20)):
            number = event.position - 1
            embedding = tagger.embed(wave(number, 0.3 if number % 3 else 0.5), RATE)[0]
            expected.offer(Example(event.id, (number % 2,), embedding))
            assert event.error is None
        assert sorted(clip.id for clip in store) == sorted(expected.ids)
        assert store.verify().ok


CERTAIN = """
import numpy as np
from audiotag.continual.policy import StoragePolicy
from audiotag.specs import SamplingPolicySpec, hookimpl

class Certain(StoragePolicy):
    name = "certain"
    needs = frozenset({"scores"})

    def decide(self, example):
        seen.append(example.scores)
        return self.skip("certain", 0.0)

    def victim(self):
        return 0

seen = []

@hookimpl
def register_sampling_policies():
    return [SamplingPolicySpec(name="certain", factory="audiotag_certain_plugin:Certain", role="storage")]
"""


def test_scores_come_by_the_classes_of_the_store(tiny, tmp_path, install_plugin):
    module = install_plugin("audiotag-certain", CERTAIN)
    with ClipStore.create(tmp_path / "s", ["absent", *reversed(NAMES)], policy="certain", capacity=1) as store:
        (_, second) = OnlineLearner(fresh(), store, FROZEN).run(clips(2))
    (scores,) = importlib.import_module(module).seen
    assert scores[0] == 0 and scores.dtype == np.float32
    by_name = dict(second.tags)
    assert scores[1:].tolist() == pytest.approx([by_name["high"], by_name["low"]])
