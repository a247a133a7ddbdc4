"""The on-line benchmark: tasks, mixtures, and that its learner is the one that devices run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiotag.continual.benchmark import (
    HeardSet,
    TaskStream,
    clip_stream,
    deal_tasks,
    mix,
    named_tasks,
    run_benchmark,
)
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.plots import plot_benchmark
from audiotag.continual.simulation import Contender
from audiotag.errors import LabelError, OptionError
from audiotag.host import get_host
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model


def made_up(classes=4, clips=10, dim=4, seed=0):
    """Embeddings in clouds that a linear head can tell apart."""
    generator = np.random.default_rng(seed)
    middles = 3 + 4 * np.eye(classes, dim)  # what all have in common is what one class takes from the others
    targets = np.repeat(np.eye(classes, dtype=np.float32), clips, axis=0)
    samples = [
        (middles[row.argmax()] + 0.3 * generator.standard_normal(dim)).astype(np.float32)[None] for row in targets
    ]
    return HeardSet(samples, targets)


def made_model(single_label=True, classes=4):
    labels = LabelSet.from_names([f"c{number}" for number in range(classes)])
    backbone = create_backbone("tiny", classes).eval()
    return Model(backbone, get_host().backbone("tiny"), {}, labels, "tiny", single_label=single_label)


def streams(generator):
    return clip_stream(made_up(), made_up(seed=1), deal_tasks(4, 2, generator), generator)


POLICIES = [Contender("none"), Contender("fifo"), Contender("class_balanced")]


@pytest.fixture
def result(tiny):
    settings = OnlineSettings(learning_rate=0.05)
    return run_benchmark(made_model(), streams, contenders=POLICIES, capacity=8, seeds=(0, 1), settings=settings)


def test_a_balanced_store_remembers_and_none_does_not(result, tmp_path):
    assert result.measure == "accuracy" and result.scores.shape == (3, 2, 2, 2)
    summary = result.summary().set_index("policy")
    assert summary.average_score["class_balanced"] >= 0.95
    assert summary.average_score["none"] < 0.7
    assert summary.forgetting_from_best["none"] > 0.5 > 0.1 > summary.forgetting_from_best["class_balanced"]
    assert summary.backward_transfer["none"] == pytest.approx(-summary.forgetting_from_best["none"])
    assert summary.classes_retained.to_dict() == {"none": 0, "fifo": 2, "class_balanced": 4}
    assert np.isnan(result.scores[:, :, 0, 1]).all()
    plot_benchmark(result, tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").stat().st_size > 1000
    with pytest.raises(OptionError, match=r"\.gif"):
        plot_benchmark(result, tmp_path / "picture.gif")


def test_runs_are_repeated_exactly(tiny, result):
    settings = OnlineSettings(learning_rate=0.05)
    again = run_benchmark(made_model(), streams, contenders=POLICIES, capacity=8, seeds=(1,), settings=settings)
    np.testing.assert_array_equal(again.scores[:, 0], result.scores[:, 1])


def test_several_labels_are_measured_by_map(tiny):
    found = run_benchmark(made_model(single_label=False), streams, contenders=POLICIES[2:], capacity=8, seeds=(0,))
    assert found.measure == "mAP"


@pytest.mark.parametrize("single_label", [True, False])
def test_the_analytic_learner_needs_no_store(tiny, single_label):
    model = made_model(single_label=single_label)
    found = run_benchmark(model, streams, contenders=POLICIES[:1], capacity=8, seeds=(0,), analytic=True)
    assert found.policies == ("none", "analytic")
    last = found.summary().set_index("policy").loc["analytic"]
    assert last.average_score >= 0.95 and last.forgetting_from_best <= 0.05 and last.classes_retained == 0


@pytest.mark.parametrize("policy", ["class_balanced", "herding"])
def test_the_learner_is_the_one_that_devices_run(tiny, tmp_path, policy):
    """The same stream, seed and settings through `OnlineLearner` and a store on disk give the same head."""
    from audiotag.continual.listening import StreamClip, Waveform
    from audiotag.continual.online import OnlineLearner
    from audiotag.continual.store import ClipStore

    generator = np.random.default_rng(3)
    waves = [generator.uniform(-0.3, 0.3, 800 + 80 * (number % 3)).astype(np.float32) for number in range(12)]
    device, bench = made_model(classes=2), made_model(classes=2)
    heads = []
    settings = OnlineSettings(replay=3, steps=2, seed=0)
    with torch.random.fork_rng(), ClipStore.create(tmp_path / "s", device.labels, policy=policy, capacity=4) as store:
        from audiotag.continual.hearing import Hearing
        from audiotag.seeding import scoped_torch_rng

        with scoped_torch_rng(0, "head"):
            device.backbone.reset_head(2)
        learner = OnlineLearner(device, store, settings)
        for number, wave in enumerate(waves):
            learner.hear(StreamClip(f"0/{number}", Waveform(wave, 8000), (f"c{number % 2}",)))
        heads.append(device.backbone.state_dict()["classifier.0.weight"])
        hearing = Hearing.of_model(made_model(classes=2), "cpu", frozen=True)
        heard = HeardSet(
            [hearing.hear_waveform(wave, 8000).sample for wave in waves],
            np.eye(2, dtype=np.float32)[np.arange(12) % 2],
        )
        stream = TaskStream([heard], [np.array([0, 1])], heard)
        run_benchmark(
            bench, lambda _: stream, contenders=[Contender(policy)], capacity=4, seeds=(0,), settings=settings
        )
        heads.append(bench.backbone.state_dict()["classifier.0.weight"])
    assert torch.equal(*heads)


def test_each_clip_is_heard_once_in_its_task():
    train = made_up(clips=3)
    train.targets[0, 1] = 1.0  # of two classes, in two tasks
    tasks = [np.array([1, 2]), np.array([0, 3])]
    stream = clip_stream(train, train, tasks, np.random.default_rng(0))
    assert [len(part.samples) for part in stream.tasks] == [7, 5]
    heard = sorted(float(sample.sum()) for part in stream.tasks for sample in part.samples)
    assert heard == sorted(float(sample.sum()) for sample in train.samples)


def test_tasks_are_dealt_or_named():
    dealt = deal_tasks(5, 2, np.random.default_rng(0))
    assert [len(task) for task in dealt] == [2, 2, 1]
    assert sorted(np.concatenate(dealt).tolist()) == [0, 1, 2, 3, 4]
    labels = LabelSet.from_names(["a", "b", "c"])
    assert [task.tolist() for task in named_tasks([["c"], ["a", "b"]], labels)] == [[2], [0, 1]]
    with pytest.raises(OptionError):
        deal_tasks(5, 6, np.random.default_rng(0))
    with pytest.raises(OptionError):
        named_tasks([["a"], ["a", "b"]], labels)
    with pytest.raises(LabelError):
        named_tasks([["d"]], labels)


def test_mixtures_are_as_loud_as_asked():
    generator = np.random.default_rng(0)
    first, second = 0.01 * generator.standard_normal(1000), 0.1 * generator.standard_normal(800)
    mixed = mix(first.astype(np.float32), second.astype(np.float32), 2.0)
    assert mixed.shape == (800,) and mixed.dtype == np.float32
    rest = mixed - first[:800]
    assert np.sqrt((rest**2).mean()) == pytest.approx(2 * np.sqrt((first[:800] ** 2).mean()), rel=1e-4)
    assert np.abs(mix(np.ones(10, np.float32), np.ones(10, np.float32), 1.0)).max() == pytest.approx(1.0)


def test_what_the_benchmark_cannot_do_is_refused(tiny):
    with pytest.raises(OptionError):
        run_benchmark(made_model(), streams, contenders=[POLICIES[0]] * 2, capacity=8, seeds=(0,))
    with pytest.raises(OptionError):
        run_benchmark(made_model(), streams, capacity=8, seeds=(0,), settings=OnlineSettings(freeze_backbone=False))


def test_heads_over_frames_leave_no_embedding_to_look_at(tiny):
    frames = HeardSet([np.ones((1, 4, 10), dtype=np.float32)], np.ones((1, 1), dtype=np.float32))
    stream = TaskStream([frames], [np.array([0])], frames)
    with pytest.raises(OptionError, match="more than clip embeddings"):
        run_benchmark(
            made_model(classes=1), lambda _: stream, contenders=[Contender("herding")], capacity=2, seeds=(0,)
        )
