"""Does it remember? On-line learning of one task after another, with each storage policy, over many seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from audiotag.continual.analytic_training import AnalyticTraining
from audiotag.continual.create import build_policy
from audiotag.continual.hearing import Hearing, Sample
from audiotag.continual.metrics import average_score_after_each_task, backward_transfer, forgetting_from_best
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.policy import Example
from audiotag.continual.simulation import Contender
from audiotag.continual.stepping import OnlineTraining
from audiotag.csv_text import frame_csv
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.recording import read_clip
from audiotag.errors import OptionError
from audiotag.evaluation.metrics import average_precision
from audiotag.files import write_text
from audiotag.inference.combine import scores_of
from audiotag.labels import LabelSet
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator, scoped_torch_rng
from audiotag.training.settings import Situation

CONTENDERS = tuple(
    Contender(name)
    for name in (
        *("none", "fifo", "reservoir", "class_balanced", "partitioning", "distribution_matching"),
        *("herding", "uncertainty"),
    )
)

ANALYTIC = "analytic"
"""The row of `AnalyticLearner`, which has no store."""

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class HeardSet:
    """Clips as a frozen backbone gives them to its head.

    Attributes:
        samples: One of each clip.
        targets: float32 (clips, classes), multi-hot.
    """

    samples: list[Sample]
    targets: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TaskStream:
    """One run's data: clips to learn from, task after task, and clips to measure on.

    Attributes:
        tasks: For each task, its clips in the order in which they are heard.
        classes: For each task, the indices of its classes.
        test: Clips to measure on, of all tasks.
    """

    tasks: list[HeardSet]
    classes: list[NDArray[np.int64]]
    test: HeardSet

    @property
    def clips(self) -> int:
        """Clips to learn from."""
        return sum(len(part.samples) for part in self.tasks)


@dataclass(frozen=True, eq=False)
class OnlineBenchmark:
    """Score matrices of all runs.

    Attributes:
        measure: What a score is: ``accuracy`` or ``mAP``.
        policies: Names of the contenders; last `ANALYTIC` where it was asked for.
        seeds: Seeds of the runs.
        scores: float64 (policies, seeds, tasks, tasks); [p, s, i, j] is the score on task j after learning 0 … i, NaN
            for j > i.
        retained: int64 (policies, seeds), classes with a stored clip at the end.
        milliseconds: float64 (policies, seeds), processor time to offer and learn a clip, the mean.
        kept_bytes: float64 (policies, seeds), what is kept at the end, without the model: embeddings, or sums; for each
            clip of the stream.
    """

    measure: str
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: NDArray[np.float64]
    retained: NDArray[np.int64]
    milliseconds: NDArray[np.float64]
    kept_bytes: NDArray[np.float64]

    def table(self) -> pd.DataFrame:
        """One row for each run and task learnt: ``policy``, ``seed``, ``task`` (from 1), ``average_score``,
        ``forgetting_from_best``, and at the last task ``backward_transfer``, ``classes_retained``, ``ms_per_clip`` and
        ``bytes_per_clip``.
        """  # noqa: D205
        rows = []
        for place, policy in enumerate(self.policies):
            for run, seed in enumerate(self.seeds):
                matrix = self.scores[place, run]
                averages, forgetting = average_score_after_each_task(matrix), forgetting_from_best(matrix)
                last = len(matrix) - 1
                rows += [
                    {
                        "policy": policy,
                        "seed": seed,
                        "task": task + 1,
                        "average_score": averages[task],
                        "forgetting_from_best": forgetting[task],
                        "backward_transfer": backward_transfer(matrix) if task == last else np.nan,
                        "classes_retained": float(self.retained[place, run]) if task == last else np.nan,
                        "ms_per_clip": self.milliseconds[place, run] if task == last else np.nan,
                        "bytes_per_clip": self.kept_bytes[place, run] if task == last else np.nan,
                    }
                    for task in range(len(matrix))
                ]
        return pd.DataFrame(rows)

    def summary(self) -> pd.DataFrame:
        """Mean and standard deviation over the seeds after the last task, one row for each policy."""
        table = self.table()
        last = table[table.task == table.task.max()].drop(columns=["seed", "task"])
        grouped = last.groupby("policy", sort=False)
        deviation = grouped.std(ddof=1) if len(self.seeds) > 1 else grouped.mean() * np.nan
        return grouped.mean().join(deviation.add_suffix("_deviation")).reset_index()

    def write(self, folder: str | Path) -> None:
        """Write ``runs.csv`` (`table`), ``summary.csv`` (`summary`) and ``scores.csv`` (the score matrices)."""
        folder = Path(folder)
        tasks = self.scores.shape[-1]
        rows = [
            {
                "policy": policy,
                "seed": seed,
                "learnt": i + 1,
                "task": j + 1,
                self.measure: self.scores[place, run, i, j],
            }
            for place, policy in enumerate(self.policies)
            for run, seed in enumerate(self.seeds)
            for i in range(tasks)
            for j in range(i + 1)
        ]
        for name, frame in (("runs", self.table()), ("summary", self.summary()), ("scores", pd.DataFrame(rows))):
            write_text(folder / f"{name}.csv", frame_csv(frame))


def hear_clips(model: Model, clips: ClipSet, *, device: str = "cpu", progress: Progress | None = None) -> HeardSet:
    """Run the frozen backbone over clips, once.

    Raises:
        AudiotagError: A clip cannot be read.
    """
    hearing = Hearing.of_model(model, device, frozen=True)
    samples = []
    for number, clip in enumerate(clips, start=1):
        samples.append(hearing.hear(clip).sample)
        if progress is not None and number % 50 == 0:
            progress(f"{number} of {len(clips)} clips processed")
    return HeardSet(samples, clips.targets())


def deal_tasks(classes: int, size: int, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Classes dealt into tasks of *size* at random; the last may be smaller.

    Raises:
        OptionError: *size* is out of range.
    """
    if not 1 <= size <= classes:
        raise OptionError(
            f"the task size {size} is out of range for {classes} classes",
            where="benchmark",
            fix=f"Give 1 to {classes}.",
        )
    order = generator.permutation(classes)
    return [np.sort(order[start : start + size]) for start in range(0, classes, size)]


def named_tasks(groups: Sequence[Sequence[str]], labels: LabelSet) -> list[NDArray[np.int64]]:
    """Tasks from groups of class names.

    Raises:
        LabelError: A class is unknown.
        OptionError: A group is empty, or a class is in two.
    """
    tasks = [np.array([labels.index(name) for name in group], dtype=np.int64) for group in groups]
    everything = np.concatenate(tasks) if tasks else np.array([], dtype=np.int64)
    if not tasks or any(not len(task) for task in tasks) or len(set(everything.tolist())) != len(everything):
        raise OptionError("each task needs classes of its own", where="benchmark", fix="Name each class once.")
    return tasks


def clip_stream(
    train: HeardSet, test: HeardSet, tasks: Sequence[NDArray[np.int64]], generator: np.random.Generator
) -> TaskStream:
    """Task after task the clips that carry one of its classes, in random order; each clip is heard once.

    A clip belongs to the first task that has one of its classes.
    """
    left = np.ones(len(train.samples), dtype=bool)
    parts = []
    for classes in tasks:
        mine = left & (train.targets[:, classes] > 0).any(axis=1)
        left &= ~mine
        order = generator.permutation(np.flatnonzero(mine))
        parts.append(HeardSet([train.samples[index] for index in order], train.targets[order]))
    return TaskStream(parts, list(tasks), test)


def mixture_stream(
    model: Model,
    train: ClipSet,
    test: ClipSet,
    tasks: Sequence[NDArray[np.int64]],
    generator: np.random.Generator,
    *,
    test_mixtures: int = 200,
    device: str = "cpu",
    cache: dict[str, NDArray[np.float32]] | None = None,
) -> TaskStream:
    """Task after task mixtures of two of its clips, made on the fly: multi-label.

    A task has as many mixtures as clips: each clip once as the first, and one drawn from the task as the second, at
    the same loudness give or take 6 dB; the classes of both count. Test mixtures are of any two test clips.

    Args:
        model: Its backbone hears the mixtures.
        train: Clips to mix for learning.
        test: Clips to mix for measuring.
        tasks: Indices of each task's classes.
        generator: The only source of randomness.
        test_mixtures: Number of mixtures to measure on.
        device: Where to compute.
        cache: Samples of the clips by id, kept over several streams.
    """
    hearing = Hearing.of_model(model, device, frozen=True)
    rate = model.backbone.sample_rate
    sounds = {} if cache is None else cache

    def sound(clip: Clip) -> NDArray[np.float32]:
        if clip.id not in sounds:
            sounds[clip.id] = read_clip(clip, rate)
        return sounds[clip.id]

    def mixed(clips: ClipSet, firsts: NDArray[np.int64], seconds: NDArray[np.int64]) -> HeardSet:
        targets = clips.targets()
        samples = []
        for first, second in zip(firsts.tolist(), seconds.tolist(), strict=True):
            gain = 10 ** (generator.uniform(-6, 6) / 20)
            samples.append(hearing.hear_waveform(mix(sound(clips[first]), sound(clips[second]), gain), rate).sample)
        return HeardSet(samples, np.maximum(targets[firsts], targets[seconds]))

    marks = train.targets()
    parts = []
    for classes in tasks:
        mine = np.flatnonzero((marks[:, classes] > 0).any(axis=1))
        parts.append(mixed(train, generator.permutation(mine), generator.choice(mine, size=len(mine))))
    pairs = generator.integers(0, len(test), size=(2, test_mixtures))
    return TaskStream(parts, list(tasks), mixed(test, pairs[0], pairs[1]))


def mix(first: NDArray[np.float32], second: NDArray[np.float32], gain: float) -> NDArray[np.float32]:
    """Two sounds (samples,) at the same loudness times *gain* for the second, as long as the shorter, peak ≤ 1."""
    length = min(len(first), len(second))
    first, second = first[:length].astype(np.float64), second[:length].astype(np.float64)
    loudness = [max(float(np.sqrt(np.square(wave).mean())), 1e-9) for wave in (first, second)]
    both = first + second * (gain * loudness[0] / loudness[1])
    return np.asarray(both / max(1.0, float(np.abs(both).max())), dtype=np.float32)


def run_benchmark(
    model: Model,
    streams: Callable[[np.random.Generator], TaskStream],
    *,
    contenders: Sequence[Contender] = CONTENDERS,
    capacity: int,
    seeds: Sequence[int],
    settings: OnlineSettings | None = None,
    analytic: bool = False,
    progress: Progress | None = None,
) -> OnlineBenchmark:
    """Learn each stream on-line with each policy, and measure after each task.

    All policies of a seed hear the same stream and start from the same fresh head. The learner is that of
    `audiotag.continual.online.OnlineLearner` (the same steps, replay and policies), on embeddings computed
    beforehand and with the store in memory. Scores are class-incremental: all classes compete, nobody says which task
    a clip is of. For single-label models a score is the accuracy on the test clips of the task's classes, otherwise
    the mean average precision of the task's classes over all test clips.

    Args:
        model: A model with the classes of the streams; its head is replaced.
        streams: Makes the stream of a run; its generator is derived from the seed.
        contenders: Policies to compare.
        capacity: Places in the store.
        seeds: One run for each.
        settings: How to learn; the backbone is frozen.
        analytic: Whether `AnalyticLearner` learns the streams too, without a store.
        progress: Told what is done.

    Raises:
        OptionError: The settings cannot be, or a name is given twice.
    """
    chosen = (settings or OnlineSettings()).resolve(Situation(single_label=model.single_label, pretrained=True))
    names = tuple(contender.name for contender in contenders) + (ANALYTIC,) * analytic
    if not chosen.freeze_backbone or not names or len(set(names)) != len(names):
        raise OptionError("the benchmark takes a frozen backbone and different policies", where="benchmark")
    runs: list[list[_Run]] = [[] for _ in names]
    for seed in seeds:
        stream = streams(numpy_generator(seed, "benchmark stream"))
        for place, name in enumerate(names):
            if place < len(contenders):
                run = _one_run(model, stream, contenders[place], capacity, seed, chosen)
            else:
                run = _analytic_run(model, stream)
            runs[place].append(run)
            if progress is not None:
                average = average_score_after_each_task(run.scores)[-1]
                progress(f"seed {seed}, {name}: average score {average:.3f}")
    measure = "accuracy" if model.single_label else "mAP"
    figures = [np.array([[getattr(run, field) for run in one] for one in runs]) for field in _Run._fields]
    return OnlineBenchmark(measure, names, tuple(seeds), *figures)


class _Run(NamedTuple):
    """The figures of one run; see `OnlineBenchmark`."""

    scores: NDArray[np.float64]
    retained: int
    milliseconds: float
    kept_bytes: float


def _one_run(
    model: Model, stream: TaskStream, contender: Contender, capacity: int, seed: int, settings: OnlineSettings
) -> _Run:
    classes = len(model.labels)
    with model.computing("making a head of"), scoped_torch_rng(seed, "head"):
        model.backbone.reset_head(classes)
    training = OnlineTraining(model, settings)
    policy = build_policy(contender.policy, capacity, classes, contender.options, seed=seed)
    memory: dict[str, tuple[Sample, NDArray[np.float32]]] = {}
    matrix = np.full((len(stream.tasks), len(stream.tasks)), np.nan)
    spent = 0.0
    for task, part in enumerate(stream.tasks):
        begun = time.process_time()
        for number, (sample, target) in enumerate(zip(part.samples, part.targets, strict=True)):
            name = f"{task}/{number}"
            decision = policy.offer(
                Example(name, tuple(np.flatnonzero(target).tolist()), **_heard(training, sample, policy.needs))
            )
            if decision.evicted is not None:
                del memory[decision.evicted]
            for step in range(settings.steps):
                samples, targets = [sample], [target]
                ids = [other for other in memory if other != name]
                draws = numpy_generator(seed, "replay", training.learned, step)
                for index in draws.permutation(len(ids))[: settings.replay].tolist():
                    samples.append(memory[ids[index]][0])
                    targets.append(memory[ids[index]][1])
                training.learn(samples, np.stack(targets), step)
            training.learned += 1
            if decision.stored:
                memory[name] = (sample, target)
        spent += time.process_time() - begun
        with torch.inference_mode():
            logits = training.logits(stream.test.samples).cpu().numpy()
        matrix[task, : task + 1] = _task_scores(logits, stream, task + 1, single_label=model.single_label)
    kept = sum(sample.nbytes + target.nbytes for sample, target in memory.values())
    return _Run(matrix, int(np.count_nonzero(policy.counts)), 1e3 * spent / stream.clips, kept / stream.clips)


def _analytic_run(model: Model, stream: TaskStream) -> _Run:
    test = np.stack([_embedding(sample, model) for sample in stream.test.samples])
    learner = AnalyticLearner(model.labels, test.shape[1], single_label=model.single_label)
    training = AnalyticTraining(learner)
    matrix = np.full((len(stream.tasks), len(stream.tasks)), np.nan)
    spent = 0.0
    for task, part in enumerate(stream.tasks):
        begun = time.process_time()
        for sample, target in zip(part.samples, part.targets, strict=True):
            training.learn([sample], target[None], 0)
        spent += time.process_time() - begun
        logits = learner.decisions(test)
        matrix[task, : task + 1] = _task_scores(logits, stream, task + 1, single_label=model.single_label)
    return _Run(matrix, 0, 1e3 * spent / stream.clips, len(learner.to_bytes()) / stream.clips)


def _heard(training: OnlineTraining, sample: Sample, needs: Collection[str]) -> dict[str, NDArray[np.float32]]:
    """What the policy needs of the model, as it is when the clip comes."""
    heard: dict[str, NDArray[np.float32]] = {}
    if "embedding" in needs:
        heard["embedding"] = _embedding(sample, training.model)
    if "scores" in needs:
        with torch.inference_mode():
            heard["scores"] = scores_of(training.logits([sample]).cpu().numpy(), training.model.single_label)[0]
    return heard


def _embedding(sample: Sample, model: Model) -> NDArray[np.float32]:
    """The clip embedding that a head takes."""
    if sample.ndim != 2:
        raise OptionError(
            "its head takes more than clip embeddings, which is all that the benchmark keeps of a clip",
            where=model.name,
            fix="Take a model whose head takes clip embeddings, or name policies that look at no embedding.",
        )
    embedding: NDArray[np.float32] = sample.mean(axis=0)
    return embedding


def _task_scores(logits: NDArray[np.floating], stream: TaskStream, tasks: int, *, single_label: bool) -> list[float]:
    targets = stream.test.targets
    scores = []
    for classes in stream.classes[:tasks]:
        if single_label:
            mine = (targets[:, classes] > 0).any(axis=1)
            scores.append(float((logits[mine].argmax(axis=1) == targets[mine].argmax(axis=1)).mean()))
        else:
            scores.append(float(np.nanmean(average_precision(targets[:, classes], logits[:, classes]))))
    return scores
