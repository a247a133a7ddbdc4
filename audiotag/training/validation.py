"""Metrics of the validation set: of whole clips, and of sound events where frames are learned from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiotag.data.clips import ClipSet
from audiotag.errors import TrainingError
from audiotag.evaluation.event_criteria import ScoredSet
from audiotag.evaluation.event_metrics import true_spans_of
from audiotag.evaluation.measurement import measure
from audiotag.evaluation.metrics import accuracy, mean_average_precision
from audiotag.evaluation.score_store import ScoreStore
from audiotag.evaluation.threshold_curves import Timeline
from audiotag.host import get_host
from audiotag.inference.combine import probabilities
from audiotag.seeding import numpy_generator
from audiotag.training.data import HEARD, Batches, whole_pass
from audiotag.training.interfaces import Loss
from audiotag.training.run import TrainingRun
from audiotag.training.supervision import SupervisedLoss, Supervision
from audiotag.training.timed_labels import Excerpt, FrameLabels, frames_within

AGAINST_DIVERGENCE = "Use a lower --learning-rate, --clip-grad-norm 1, or --precision 32."
"""What to do where numbers stop being finite."""

EVENT_METRICS = ("psds1", "event_f1")
"""What is measured after each epoch where frames are learned from."""

MEASURED = 1000
"""Clips at most whose events are measured after an epoch, for half a minute with hundreds of classes."""


def validation_metrics(logits: NDArray[np.float32], clips: ClipSet, loss: Loss, metric: str) -> dict[str, float]:
    """Loss, mAP and, for single-label data, accuracy of a validation set, and what says which epoch is best.

    Args:
        logits: (clips, classes).
        clips: The clips.
        loss: The training loss.
        metric: The metric by which the best epoch is chosen.

    Raises:
        TrainingError: A logit is not finite.
    """
    wrong = int((~np.isfinite(logits).all(axis=1)).sum())
    if wrong:
        raise TrainingError(
            f"the network has diverged: its scores of {wrong} of {len(logits)} validation clips are not finite",
            fix=AGAINST_DIVERGENCE,
        )
    targets, known = clips.targets(), clips.known()
    with torch.no_grad():
        mask = None if known is None else torch.from_numpy(known)
        value = float(loss(torch.from_numpy(logits), torch.from_numpy(targets), mask).mean())
    single_label = loss.task == "singlelabel"
    measured = {"loss": value}
    if single_label:
        scores = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
        measured |= {"mAP": mean_average_precision(targets, scores), "accuracy": accuracy(targets, scores)}
    else:
        measured["mAP"] = mean_average_precision(targets, logits, known)
    if metric not in measured:
        measured[metric] = measure(
            metric, targets, probabilities(logits, single_label), known, single_label=single_label
        )
    return measured


def measured_frames(run: TrainingRun, batches: Batches, val: ClipSet) -> dict[str, float]:
    """Metrics of a run that learns from frames, the same on every process.

    The loss is that of training, without the teacher. Of a clip that is longer than the network takes in one pass, the
    beginning is heard and measured. Of sets of more than `MEASURED` clips that say when, so many are measured.

    Args:
        run: Its network is in evaluation mode.
        batches: Reads the clips as ``"val"``.
        val: The clips.

    Raises:
        TrainingError: A logit is not finite.
    """
    heard = _Heard(run, val)
    plan = whole_pass(len(val), run.settings.batch_size, run.fabric.global_rank, run.fabric.world_size)
    with torch.inference_mode():
        for batch in batches.read("val", plan):
            heard.add(batch)
    heard.gather()
    of_events = get_host().metric(run.settings.metric).task == "events"
    measured = validation_metrics(heard.logits.numpy(), val, run.loss, "mAP" if of_events else run.settings.metric)
    measured["loss"] = float(heard.losses.mean())
    if heard.frames:
        names = dict.fromkeys((*EVENT_METRICS, *([run.settings.metric] if of_events else [])))
        with heard.scored() as scored:
            measured |= {name: _of_events(name, scored) for name in names}
    return measured


def _of_events(name: str, scored: ScoredSet) -> float:
    host = get_host()
    spec = host.metric(name)
    with host.running(spec, f"computing {name!r}"):
        return float(host.resolve(spec)(scored))


class _Heard:
    """What a network says of validation clips."""

    def __init__(self, run: TrainingRun, val: ClipSet) -> None:
        self._run, self._val = run, val
        self._labels = Supervision.of(val)
        self._frames = FrameLabels.of(val, run.seconds, run.model.backbone.frame_rate)
        self._loss = SupervisedLoss(run.loss.cpu(), run.settings.replaced(label_smoothing=0.0))
        self._measured = frozenset(_measured_clips(val))
        self.logits = torch.full((len(val), len(val.labels)), float("-inf"))
        self.losses = torch.full((len(val),), float("-inf"))
        self.frames: dict[int, tuple[Excerpt, NDArray[np.float16]]] = {}

    def add(self, batch: dict[str, Tensor]) -> None:
        run, backbone = self._run, self._run.model.backbone
        inputs = run.fabric.to_device({name: batch[name] for name in backbone.inputs})
        with run.model.computing(), run.fabric.autocast():
            features = backbone.forward_features(**inputs)
            logits = backbone.forward_head(backbone.head_input(features)).float().cpu()
            frame_logits = backbone.frame_logits(features).float().cpu()
        index, heard = batch["index"], batch[HEARD]
        seconds = batch["waveform"].shape[1] / backbone.sample_rate
        labels = self._labels.batch(index) | self._frames.within(seconds).batch(index, heard)
        self.logits[index] = logits
        self.losses[index] = self._loss(logits, labels, frame_logits)
        for clip, own, rows in zip(index.tolist(), heard.tolist(), frame_logits, strict=True):
            if clip in self._measured:
                excerpt = Excerpt(*own)
                frames = frames_within(excerpt.stop - excerpt.start, backbone.frame_rate)
                self.frames[clip] = excerpt, rows[:frames].numpy().astype(np.float16)

    def gather(self) -> None:
        """Take over what other processes have heard."""
        if self._run.fabric.world_size == 1:
            return
        clips = sorted(self._measured)
        longest = max((len(rows) for _, rows in self.frames.values()), default=1)
        longest = int(self._most(torch.tensor([longest]))[0])
        spans = torch.full((len(clips), 4), float("-inf"), dtype=torch.float64)
        frames = torch.full((len(clips), longest, len(self._val.labels)), float("-inf"), dtype=torch.float16)
        for place, clip in enumerate(clips):
            if clip in self.frames:
                excerpt, rows = self.frames[clip]
                spans[place] = torch.tensor([*excerpt, len(rows)], dtype=torch.float64)
                frames[place, : len(rows)] = torch.from_numpy(rows)
        spans, frames = self._most(spans), self._most(frames)
        self.logits, self.losses = self._most(self.logits), self._most(self.losses)
        for clip, (*excerpt, count), rows in zip(clips, spans.tolist(), frames.numpy(), strict=True):
            self.frames[clip] = Excerpt(*excerpt), rows[: int(count)]

    def _most(self, values: Tensor) -> Tensor:
        """The highest over processes, each of which has filled in the rows of its own clips."""
        fabric = self._run.fabric
        return cast(Tensor, fabric.all_gather(values.to(fabric.device))).amax(0).cpu()

    def scored(self) -> ScoredSet:
        """The events of the measured clips, and the scores of their frames."""
        mids, truth, frames, seconds = self._val.labels.mids, {}, {}, []
        store = ScoreStore(len(mids))
        for clip, (excerpt, rows) in self.frames.items():
            name = self._val.columns.ids[clip]
            seconds.append(excerpt.stop - excerpt.start)
            truth[name], frames[name] = list(self._events(clip, excerpt, seconds[-1])), len(rows)
            store.add(probabilities(rows.astype(np.float32), single_label=False))
        timeline = Timeline.of(true_spans_of(truth), frames, 1 / self._run.model.backbone.frame_rate)
        return ScoredSet(tuple(mids), timeline, store, np.array(seconds))

    def _events(self, clip: int, excerpt: Excerpt, seconds: float) -> Iterator[tuple[float, float, str]]:
        events = self._val[clip].events
        for onset, offset, index in excerpt.events(events or (), seconds):
            yield onset, offset, self._val.labels.mids[index]


def _measured_clips(val: ClipSet) -> list[int]:
    events = val.columns.events
    if events is None:
        return []
    timed = np.flatnonzero(events.said)
    if len(timed) > MEASURED:
        timed = numpy_generator("clips whose events are measured").choice(timed, MEASURED, replace=False)
    measured: list[int] = timed.tolist()
    return measured
