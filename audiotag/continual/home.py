"""The call of the home system that learns from one clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.hearing import Hearing
from audiotag.continual.memory import multi_hot
from audiotag.continual.online_settings import OnlineSettings
from audiotag.continual.stepping import OnlineTraining
from audiotag.data.heard import LEARNED, Heard
from audiotag.errors import OptionError
from audiotag.inference.sound import as_clip
from audiotag.models.model import Model
from audiotag.training.settings import Situation


def train_on_audio_only(
    model: Model,
    wav: str | Path | NDArray[np.float32],
    labels: Sequence[str],
    *,
    sample_rate: int | None = None,
    epochs: int = 5,
    steps_per_epoch: int = 10,
    learning_rate: float = 1e-4,
    device: str = "cpu",
    seed: int = 0,
) -> list[float]:
    """Learn from one labelled clip, as the home system does: batch of one, sound only, frozen base.

    The head takes ``epochs × steps_per_epoch`` steps of AdamW (β 0.9 and 0.95, weight decay 1e-5) on the clip; the
    rate follows a warm-up of one epoch and a cosine down to a hundredth. The network itself runs once. Nothing is
    replayed, so call after call forgets what came before: `audiotag.continual.online.OnlineLearner` does not.

    Args:
        model: What learns, in place (``audiotag.models.loading.load_model``). It notes a recording that it learns from.
        wav: A recording, or mono samples, float32 (samples,) in [−1, 1].
        labels: Its classes, each a mid or display name of the model; at least one.
        sample_rate: Hz of the samples; None for a recording.
        epochs: Epochs of the schedule.
        steps_per_epoch: Steps in each.
        learning_rate: Highest rate.
        device: Where to compute; the model stays there.
        seed: Seed of dropout, where the head has some.

    Returns:
        The loss before each step.

    Raises:
        AudioError: The recording cannot be read, or the samples are none.
        LabelError: A class is unknown to the model.
        OptionError: There is no label, samples come without a rate, or a number is out of range.
        TrainingError: The loss is not finite.
    """
    if isinstance(labels, str) or not labels:
        raise OptionError(f"the labels are {labels!r}", where="train_on_audio_only", fix="Give a list of classes.")
    if epochs < 1 or steps_per_epoch < 1:
        raise OptionError(f"{epochs} epochs of {steps_per_epoch} steps are out of range", where="train_on_audio_only")
    target = multi_hot([model.labels.index(label) for label in labels], len(model.labels))
    total = epochs * steps_per_epoch
    settings = OnlineSettings(
        learning_rate=learning_rate,
        weight_decay=1e-5,
        betas=(0.9, 0.95),
        # One clip of so many steps: the schedule counts steps where the learner counts clips.
        steps=1,
        schedule="cosine",
        schedule_clips=total,
        warmup=steps_per_epoch if epochs > 1 else 0,
        replay=0,
        seed=seed,
    ).resolve(Situation(single_label=model.single_label, pretrained=True))
    hearing = Hearing.of_model(model, device, frozen=True)
    if isinstance(wav, str | Path):
        clip = as_clip(wav)
        heard = hearing.hear(clip)
        model.metadata[LEARNED] = str(Heard.of_models([model.metadata]) | Heard.of([clip]))
    elif sample_rate is None:
        raise OptionError("samples come without a rate", where="train_on_audio_only", fix="Give sample_rate.")
    else:
        heard = hearing.hear_waveform(wav, sample_rate)
    training = OnlineTraining(model, settings)
    losses = []
    for _ in range(total):
        losses.append(training.learn([heard.sample], target[None], 0))
        training.learned += 1
    return losses
