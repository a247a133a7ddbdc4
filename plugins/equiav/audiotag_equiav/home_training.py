"""On-line fine-tuning by the names of the home system: one labelled clip, one step, no store.

The settings are those of its argparse namespace, handed on whole; what plays no part in on-line learning (the
processes, the logger, off-line augmentation) is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audiotag.plugin import (
    CheckpointError,
    LabelError,
    LoadReport,
    Model,
    Optimiser,
    OptionError,
    TrainingError,
    as_path,
    atomic_path,
    change_classes,
    freeze_all_but_head,
    get_host,
    load_published,
    make_optimiser,
    numbered_labels,
    published_classes,
    read_audio,
    real_number,
    scoped_torch_rng,
    warmup_cosine,
    whole_number,
)
from audiotag_equiav.backbone import SAMPLE_RATE, STATISTICS, EquiAV, make_front_end

MEAN, STD = STATISTICS["audioset"]

_LOSSES = {"bceloss": nn.functional.binary_cross_entropy_with_logits, "celoss": nn.functional.cross_entropy}


class EquiAV_ft(EquiAV):
    """The network for fine-tuning, from the namespace of the home system's script.

    Args:
        label_dim: Number of classes.
        ftmode: ``audio_only``, ``video_only`` or ``multimodal``.
        head_type: ``linear`` or ``mlp``.
        inter_linear: One linear projection, or three layers.
        head_dim: Size of the projected embedding.
        target_length: Frames of a spectrogram.
        num_mel_bins: Mel bands.
        norm_mean: Mean of the log-mel energies.
        norm_std: Their deviation.
        drop_path: Rate of stochastic depth.
        drop_out: Rate of dropout.
        depth: Blocks of a branch; this and the next three make a small network, to try things with.
        width: Size of a token.
        heads: Attention heads.
        projection_width: Inner size of a three-layer projection.
        seed: Seed of the fresh parameters.
        others: The rest of the namespace, of no meaning here.

    Raises:
        OptionError: A setting has a value that cannot work.
    """

    def __init__(
        self,
        *,
        label_dim: int,
        ftmode: Literal["audio_only", "video_only", "multimodal"] = "audio_only",
        head_type: Literal["linear", "mlp"] = "linear",
        inter_linear: bool = True,
        head_dim: int = 512,
        target_length: int = 1024,
        num_mel_bins: int = 128,
        norm_mean: float = MEAN,
        norm_std: float = STD,
        drop_path: float = 0.1,
        drop_out: float = 0.0,
        depth: int = 12,
        width: int = 768,
        heads: int = 12,
        projection_width: int = 2048,
        seed: int = 0,
        **others: Any,
    ) -> None:
        with scoped_torch_rng(seed, "parameters"):
            super().__init__(
                whole_number("label_dim", label_dim),
                mode=ftmode,
                head=head_type,
                inter_linear=inter_linear,
                projection_dim=head_dim,
                target_length=target_length,
                num_mel_bins=num_mel_bins,
                norm_mean=norm_mean,
                norm_std=norm_std,
                drop_path=drop_path,
                dropout=drop_out,
                depth=depth,
                width=width,
                heads=heads,
                projection_width=projection_width,
            )


class WrappedModel(nn.Module):
    """A network under the name ``__M__``, which the keys of the home system's files begin with."""

    def __init__(self, model: EquiAV) -> None:
        super().__init__()
        self.__M__ = model

    def forward(self, features: Tensor) -> Tensor:
        """Logits (batch, classes) of features as `format_model_input` gives them."""
        logits: Tensor = self.__M__.forward_head(self.embed(features))
        return logits

    def embed(self, features: Tensor) -> Tensor:
        """What the head takes, (batch, dim)."""
        network = self.__M__
        if features.ndim != 4 or features.shape[2:] != (network.config.target_length, network.config.num_mel_bins):
            raise OptionError(
                f"features of shape {tuple(features.shape)} do not fit the network, which takes (batch, 3, "
                f"{network.config.target_length}, {network.config.num_mel_bins})",
                where="EquiAV_ft",
                fix="Make them with format_model_input and the target_length and num_mel_bins of the network.",
            )
        return network.head_input(network.forward_spectrogram(features[:, 0].transpose(1, 2)))


class ModelTrainer:
    """Takes a step of on-line learning for each labelled clip.

    AdamW (β 0.9, 0.95), Adam (0.95, 0.999) or SGD (0.9) on the head, or on everything where the base is not frozen;
    linear warm-up from *start_lr* to *lr*, then a cosine down to *final_lr* over ``max_epoch × iteration_per_epoch``
    steps, and *final_lr* from then on. The head follows the same curve up to *head_lr*. Batch norms keep their
    statistics. Dropout is drawn from the seed and the number of the step.

    Args:
        model: What learns, in place; where it is moved to is where it learns.
        label_dim: Number of classes.
        old_label_dim: Classes of the file that is loaded, where it has fewer.
        trainfunc_ft: ``bceloss`` or ``celoss``.
        ftmode: ``audio_only``.
        freeze_base: Let the head alone learn.
        optimizer: ``adamw``, ``adam`` or ``sgd``.
        weight_decay: Decay of weights.
        lr: Highest rate.
        head_lr: Highest rate of the head.
        start_lr: Rate at the first step.
        final_lr: Rate at the end.
        scheduler: ``warmupcos``.
        warmup_epoch: Epochs of warm-up.
        max_epoch: Epochs of the schedule.
        iteration_per_epoch: Steps in each.
        mixedprec: Compute in bfloat16 on a GPU.
        data_aug: Must be off: a single step augments nothing.
        seed: Seed of dropout and of the rows of new classes.
        others: The rest of the namespace, of no meaning here.

    Attributes:
        steps: Steps taken.

    Raises:
        OptionError: A setting has a value that cannot work.
    """

    def __init__(
        self,
        model: WrappedModel,
        /,  # the namespace has a setting of that name
        *,
        label_dim: int,
        old_label_dim: int | None = None,
        trainfunc_ft: str = "bceloss",
        ftmode: str = "audio_only",
        freeze_base: bool = True,
        optimizer: Literal["adamw", "adam", "sgd"] = "adamw",
        weight_decay: float = 1e-5,
        lr: float = 1e-4,
        head_lr: float = 1e-4,
        start_lr: float = 2e-7,
        final_lr: float = 1e-6,
        scheduler: str = "warmupcos",
        warmup_epoch: float = 3,
        max_epoch: int = 5,
        iteration_per_epoch: int = 10,
        mixedprec: bool = True,
        data_aug: bool = False,
        seed: int = 0,
        **others: Any,
    ) -> None:
        if not isinstance(model, WrappedModel):
            raise OptionError(f"the trainer takes a WrappedModel, not {type(model).__name__}", where="ModelTrainer")
        choices = (
            ("trainfunc_ft", trainfunc_ft, _LOSSES),
            ("optimizer", optimizer, ("adamw", "adam", "sgd")),
            ("scheduler", scheduler, ("warmupcos",)),
            ("data_aug", data_aug, (False,)),
        )
        for name, value, known in choices:
            if value not in known:
                raise OptionError(
                    f"{name} is {value!r}", where="ModelTrainer", fix=f"Give {' or '.join(map(str, known))}."
                )
        rate = real_number("lr", lr)
        if not rate > 0:
            raise OptionError(f"lr is {lr}", where="ModelTrainer", fix="Give more than 0.")
        self.model = model
        self.steps = 0
        self._classes = whole_number("label_dim", label_dim)
        self._old_classes = self._classes if old_label_dim is None else whole_number("old_label_dim", old_label_dim)
        if self._old_classes > self._classes or model.__M__.num_classes != self._classes:
            raise OptionError(
                f"old_label_dim is {self._old_classes}, label_dim {self._classes}, and the network has "
                f"{model.__M__.num_classes} classes",
                where="ModelTrainer",
                fix="Append new classes to the old list, and make the network with the new label_dim.",
            )
        self._loss = _LOSSES[trainfunc_ft]
        self._mode, self._frozen, self._mixed, self._seed = ftmode, freeze_base, mixedprec, seed
        self._settings = Optimiser(
            optimiser=optimizer,
            learning_rate=rate,
            head_lr_ratio=real_number("head_lr", head_lr) / rate,
            weight_decay=real_number("weight_decay", weight_decay),
            betas=(0.95, 0.999) if optimizer == "adam" else (0.9, 0.95),
            momentum=0.9,
        )
        epoch = whole_number("iteration_per_epoch", iteration_per_epoch)
        self._schedule = {
            "total": float(whole_number("max_epoch", max_epoch) * epoch),
            "warmup": real_number("warmup_epoch", warmup_epoch, most=max_epoch) * epoch,
            "start": real_number("start_lr", start_lr) / rate,
            "final": real_number("final_lr", final_lr) / rate,
        }
        self._begin()

    def _begin(self) -> None:
        network = self.model.__M__
        if self._frozen:
            freeze_all_but_head(network)
        else:
            network.requires_grad_(True)
        self._optimiser = make_optimiser(network, self._settings)

    def loadParameters(self, path: str | Path) -> LoadReport:
        """Fill the network from a file: a published one, one of `saveParameters`, or a pre-trained one without a head.

        Where the file has *old_label_dim* classes and the network more, the head's rows keep their indices, and the
        new ones stay fresh.

        Args:
            path: The file.

        Returns:
            What was taken, left fresh and left over.

        Raises:
            CheckpointError: The file cannot be read, lacks something, or has another number of classes.
        """
        network = self.model.__M__
        path = as_path("the file to load", path)
        classes = published_classes(network, path)
        if classes not in (None, self._classes, self._old_classes):
            raise CheckpointError(
                f"the file has {classes} classes, where old_label_dim is {self._old_classes} and label_dim "
                f"{self._classes}",
                where=path,
                fix="Give the class lists that the file was trained on and that it is to learn.",
            )
        if classes in (None, self._classes):
            report = load_published(network, path)
        else:
            old = numbered_labels(self._old_classes)
            model = Model(network, get_host().backbone("equiav"), {}, numbered_labels(self._classes), "equiav")
            change_classes(model, old)
            report = load_published(network, path)
            change_classes(model, numbered_labels(self._classes), seed=self._seed)
        self._begin()  # the head is another one now
        return report

    def saveParameters(self, path: str | Path) -> None:
        """Write the network's tensors to a file that `loadParameters` and `load_audio_model` take."""
        state = {key: value.detach().cpu() for key, value in self.model.state_dict().items()}
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def train_on_audio_only(self, a_data: Tensor, label_data: Tensor) -> float:
        """Take one step.

        Args:
            a_data: Features of clips, (batch, 3, frames, bands), as `format_model_input` gives them.
            label_data: Targets, (classes,) or (batch, classes), as `format_label_data` gives them.

        Returns:
            The loss before the step.

        Raises:
            OptionError: The network does not take sound alone, or shapes do not fit.
            TrainingError: The loss is not finite; nothing has changed.
        """
        if self._mode != "audio_only":
            raise OptionError(f"ftmode is {self._mode!r}", where="train_on_audio_only", fix="Use audio_only.")
        device = next(self.model.parameters()).device
        features = a_data.to(device)
        targets = label_data.to(device, torch.float32)
        targets = targets[None] if targets.ndim == 1 else targets
        if targets.shape != (len(features), self._classes):
            raise OptionError(
                f"targets of shape {tuple(label_data.shape)} do not fit {len(features)} clips of {self._classes} "
                "classes",
                where="train_on_audio_only",
                fix="Make them with format_label_data and the network's label_dim.",
            )
        factor = warmup_cosine(self.steps + 0.5, **self._schedule)
        for group in self._optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        self._set_training(True)
        try:
            with (
                scoped_torch_rng(self._seed, "online step", self.steps, devices=[device]),
                torch.autocast(device.type, torch.bfloat16, enabled=self._mixed and device.type == "cuda"),
            ):
                with torch.set_grad_enabled(not self._frozen):
                    embedding = self.model.embed(features)
                logits = self.model.__M__.forward_head(embedding)
            loss = self._loss(logits.float(), targets)
        finally:
            self._set_training(False)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss became {value}", where="train_on_audio_only", fix="Use a lower lr.")
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self.steps += 1
        return value

    def _set_training(self, on: bool) -> None:
        """Training mode for what learns, batch norms apart: of a single clip they would learn nothing."""
        network = self.model.__M__
        network.eval()
        for part in (network.mlp_head if self._frozen else network).modules():
            if not isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.training = on


def format_model_input(
    wav: str | Path,
    target_length: int = 1024,
    num_mel_bins: int = 128,
    norm_mean: float = MEAN,
    norm_std: float = STD,
) -> Tensor:
    """Features of one recording of any rate and channel count, as the network takes them.

    Args:
        wav: The recording.
        target_length: Frames, 100 to the second; longer sound is cut, shorter sound is padded.
        num_mel_bins: Mel bands.
        norm_mean: Mean of the log-mel energies.
        norm_std: Their deviation.

    Returns:
        float32 (1, 3, target_length, num_mel_bins): the same spectrogram on three channels.

    Raises:
        AudioError: The recording cannot be read.
        OptionError: A number cannot be.
    """
    whole_number("target_length", target_length)
    front_end = make_front_end(
        whole_number("num_mel_bins", num_mel_bins), target_length, "audioset", norm_mean, norm_std
    )
    samples = read_audio(as_path("the recording", wav), SAMPLE_RATE)
    spectrogram: Tensor = front_end(torch.from_numpy(samples)[None])
    return spectrogram.transpose(1, 2)[:, None].expand(-1, 3, -1, -1)


def format_label_data(labels: str, index_dict: Mapping[str, int], label_dim: int, label_smooth: float = 0.0) -> Tensor:
    """Targets of one clip.

    Args:
        labels: Mids, joined by commas.
        index_dict: Mid → index.
        label_dim: Number of classes.
        label_smooth: s: targets are 1 − s for the clip's classes and s / classes for the others.

    Returns:
        float32 (label_dim,).

    Raises:
        LabelError: There is no label, or one is not in *index_dict* or out of range.
        OptionError: A number cannot be.
    """
    classes = whole_number("label_dim", label_dim)
    smooth = real_number("label_smooth", label_smooth, most=1.0)
    mids = [mid.strip() for mid in labels.split(",") if mid.strip()]
    known = [mid for mid in mids if 0 <= int(index_dict.get(mid, -1)) < classes]
    if not mids or len(known) < len(mids):
        unknown = ", ".join(mid for mid in mids if mid not in known)
        raise LabelError(
            f"not among the {classes} classes: {unknown}" if mids else "the clip has no label",
            where=labels,
            fix="Check the class list and the manifest.",
        )
    targets: NDArray[np.float32] = np.full(classes, smooth / classes, dtype=np.float32)
    targets[[int(index_dict[mid]) for mid in mids]] = 1.0 - smooth
    return torch.from_numpy(targets)
