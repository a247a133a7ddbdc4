"""The settings of a fine-tuning run: their meaning, defaults and files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_type_hints

import numpy as np

from audiotag.annotations import description, fits
from audiotag.audio.augmentation import Augmentation
from audiotag.errors import OptionError, suggest
from audiotag.host import get_host
from audiotag.training.partners import SetPartners
from audiotag.training.schedules import SHAPES


@dataclass(frozen=True)
class _Range:
    """From *low* to *high*; without *low* itself where *above*, without *high* itself where *below*."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        return (value > self.low if self.above else value >= self.low) and (
            value < self.high if self.below else value <= self.high
        )

    def __str__(self) -> str:
        low = f"a number above {self.low:g}" if self.above else f"{self.low:g} or more"
        return f"{low}, {'below' if self.below else 'at most'} {self.high:g}"


_COUNT, _FROM_ONE = _Range(0, 2**31 - 1), _Range(1, 2**31 - 1)
_POSITIVE, _NOT_NEGATIVE = _Range(0, 1e9, above=True), _Range(0, 1e9)  # products of two fit any kind of number
_SHARE, _BELOW_ONE = _Range(0, 1), _Range(0, 1, below=True)
_RANGES: dict[str, _Range] = {
    **dict.fromkeys(("epochs", "batch_size", "early_stopping", "frequency_stripes", "time_stripes"), _FROM_ONE),
    **dict.fromkeys(
        ("frequency_mask", "time_mask", "roll_frames", "average_from", "average_to", "warmup_steps"), _COUNT
    ),
    **dict.fromkeys(
        (
            "head_lr_ratio",
            "clip_grad_norm",
            "step_every",
            "ramp_length",
            "temperature",
            "wavmix_alpha",
            "mixstyle_alpha",
        ),
        _POSITIVE,
    ),
    **dict.fromkeys(
        (
            "weight_decay",
            "warmup",
            "ramp_start",
            "initial_lr",
            "final_lr",
            "mixup_alpha",
            "time_shift",
            "noise",
            "audio_cache_gb",
        ),
        _NOT_NEGATIVE,
    ),
    **dict.fromkeys(("mixup_rate", "wavmix_rate", "mixstyle_rate", "speed_rate", "distill_weight"), _SHARE),
    **dict.fromkeys(("label_smoothing", "ema_decay", "speed_change", "momentum", "betas"), _BELOW_ONE),
    "batch_norm_momentum": _Range(0, 1, above=True),
    "seconds": _Range(0, 3600, above=True),
    "gain_db": _Range(0, 200),
    "learning_rate": _Range(0, 1e38, above=True),  # what float32 holds
    "seed": _Range(-(2**63), 2**63 - 1),
    "devices": _Range(1, 1024),
    "workers": _Range(0, 1024),
}
"""What numbers a setting may have; every number stands here."""

_CHOICES: dict[str, Collection[str]] = {
    "optimiser": ("adam", "adamw", "sgd"),
    "schedule": tuple(SHAPES),
    "mixup_on": ("spectrogram", "waveform"),
    "mixup_partner": ("batch", "set"),
    "mask_with": ("silence", "mean"),
    "precision": ("32", "16-mixed", "bf16-mixed"),
    "logger": ("csv", "tensorboard", "wandb"),
}
"""What words a setting may have."""
_OF_SOUND = (
    "gain_db",
    "time_shift",
    "noise",
    "speed_change",
    "frequency_mask",
    "time_mask",
    "roll_frames",
    "wavmix_rate",
    "mixstyle_rate",
)


@dataclass(frozen=True)
class Settings:
    """How a model is trained. ``None`` stands for a default that depends on the rest; `resolved` fills it in.

    Attributes:
        epochs: Passes over the data (`sampler` decides what a pass is).
        batch_size: Clips a step, over all processes.
        freeze_backbone: Compute what the head takes once, keep it on disk, train the head alone.
        seconds: Length of clips in training; shorter ones are repeated, longer ones cut at random. None: what
            nineteen in twenty clips do not exceed, between the model's least and trained length.
        loss: Name of a loss plugin; None: ``bce``, or ``ce`` for single-label data.
        loss_options: Its options.
        optimiser: ``adam``, ``adamw`` or ``sgd``.
        learning_rate: Base rate of the backbone (of the head, where the backbone is frozen).
        head_lr_ratio: The head's base rate as a multiple of `learning_rate`.
        weight_decay: Decay of weights (decoupled in ``adamw``).
        betas: Momentum terms of Adam.
        momentum: Momentum of SGD.
        schedule: ``cosine``, ``onecycle`` (half a cosine up, half a cosine down), ``linear`` (exponential warm-up,
            flat, linear down), ``step`` or ``constant``. What belongs to another schedule is refused.
        warmup: Epochs of warm-up; None: a tenth of the run, at most 3 (``onecycle``: three tenths), or none with
            `warmup_steps`.
        ramp_start: Epoch from which ``linear`` and ``step`` go down.
        initial_lr: Factor of the base rate at the first step of the warm-up, for all but ``linear``, whose warm-up
            begins where it must. None: 0, and 0.04 for ``onecycle``.
        final_lr: Factor of the base rate at the end of ``cosine``, ``onecycle`` and ``linear``. None: 0.01, and 4e-6
            for ``onecycle``.
        clip_grad_norm: Largest norm of the gradient, None for no clipping.
        label_smoothing: s in targets 1 − s and s / classes.
        mixup_alpha: Parameter of the Beta distribution, 0 for no mixup.
        mixup_rate: Share of clips that are mixed.
        mixup_on: ``spectrogram`` or ``waveform``.
        mixup_partner: ``batch``, or ``set``: the partner is any clip of the training set (PSLA), for waveforms only.
        wavmix_rate: Share of clips that are also mixed as waveforms, before the mixup of spectrograms, with a clip of
            the whole training set (EfficientAT's wavmix).
        wavmix_alpha: Parameter of its Beta distribution.
        mixstyle_rate: Probability that the statistics of a batch's bands are mixed (Freq-MixStyle, `mix_style`). It
            takes the place of mixup.
        mixstyle_alpha: Parameter of its Beta distribution.
        gain_db: See `Augmentation`, as for the ten that follow.
        time_shift: Seconds.
        noise: Share of full scale.
        speed_change: Largest change of the length, as a share of it.
        speed_rate: Share of clips.
        frequency_mask: Bands.
        time_mask: Frames.
        frequency_stripes: Masks of bands.
        time_stripes: Masks of frames.
        mask_with: ``silence`` or ``mean``.
        roll_frames: Frames.
        sampler: Name of a sampling-policy plugin of role training.
        sampler_options: Its options.
        batch_norm_momentum: Momentum of batch-norm statistics; None raises the network's own so that statistics keep
            up with short runs.
        metric: What "best" means: ``mAP``, ``mAUC``, ``accuracy`` or the metric of a plugin; None: accuracy for
            single-label data.
        early_stopping: Epochs without a better metric after which training stops, None for never.
        seed: Seed of everything random.
        precision: ``32``, ``16-mixed`` or ``bf16-mixed``.
        device: ``cpu``, ``cuda`` or ``auto``.
        devices: Number of processes (each with a device of its own on GPUs).
        strategy: How several processes work together, as Lightning Fabric names it.
        workers: Processes that decode clips, beside the training process.
        audio_cache_gb: Most that decoded and resampled clips may take on disk, in GB (10⁹ bytes); 0 keeps none.
        logger: ``csv`` alone, or ``tensorboard`` or ``wandb`` beside it.
        distill_weight: Share of a teacher in the loss, in [0, 1]; None: 0.9 with a teacher (EfficientAT's), else 0.
        temperature: What a teacher's logits are divided by (see `SupervisedLoss`).
        average_from: First epoch (from 1, as in ``log.csv``) whose weights go into the checkpoint ``averaged``; None or
            0 for no average.
        average_to: Last such epoch; None for the last of the run.
        ema_decay: Decay, a step, of a running average of the weights, the checkpoint ``ema``; 0 for none.
        keep_epochs: Keep the checkpoint of every epoch, as ``epochs/epoch_001``.
        summary: Measure the models of the finished run on the validation and evaluation sets (see
            `audiotag.training.summary`); None: where there is an evaluation set, an average, or kept epochs.
        warmup_steps: Steps of linear warm-up, on top of the schedule, in twenty stairs (see `step_warmup`).
        step_every: Epochs between the halvings of ``step``; None: 5.
        ramp_length: Epochs that the way down of ``linear`` takes; None for the rest of the run.
    """

    epochs: int | None = None
    batch_size: int | None = None
    freeze_backbone: bool = False
    seconds: float | None = None
    loss: str | None = None
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    optimiser: str = "adamw"
    learning_rate: float | None = None
    head_lr_ratio: float | None = None
    weight_decay: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup: float | None = None
    ramp_start: float | None = None
    initial_lr: float | None = None
    final_lr: float | None = None
    clip_grad_norm: float | None = None
    label_smoothing: float = 0.0
    mixup_alpha: float | None = None
    mixup_rate: float = 1.0
    mixup_on: Literal["spectrogram", "waveform"] = "spectrogram"
    mixup_partner: Literal["batch", "set"] = "batch"
    wavmix_rate: float = 0.0
    wavmix_alpha: float = 2.0
    mixstyle_rate: float = 0.0
    mixstyle_alpha: float = 0.4
    gain_db: float | None = None
    time_shift: float | None = None
    noise: float = 0.0
    speed_change: float = 0.0
    speed_rate: float = 1.0
    frequency_mask: int | None = None
    time_mask: int | None = None
    frequency_stripes: int = 1
    time_stripes: int = 1
    mask_with: Literal["silence", "mean"] = "silence"
    roll_frames: int = 0
    sampler: str = "shuffle"
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    batch_norm_momentum: float | None = None
    metric: str | None = None
    early_stopping: int | None = None
    seed: int = 0
    precision: Literal["32", "16-mixed", "bf16-mixed"] = "32"
    device: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    workers: int = 1
    audio_cache_gb: float = 0.0
    logger: Literal["csv", "tensorboard", "wandb"] = "csv"
    distill_weight: float | None = None
    temperature: float = 1.0
    average_from: int | None = None
    average_to: int | None = None
    ema_decay: float = 0.0
    keep_epochs: bool = False
    summary: bool | None = None
    warmup_steps: int = 0
    step_every: float | None = None
    ramp_length: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas) if isinstance(self.betas, list) else self.betas)  # TOML
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, np.generic):
                value = value.item()
                object.__setattr__(self, name, value)
            if value is None and type(None) in get_args(hint):
                continue
            if not fits(value, hint):
                raise _refused(name, value, description(hint).removesuffix(" or none"))
            if name in _CHOICES and value not in _CHOICES[name]:
                raise _refused(name, value, f"one of: {', '.join(_CHOICES[name])}")
            for number in value if isinstance(value, tuple) else [value]:
                if name in _RANGES and not _RANGES[name].holds(number):
                    raise _refused(name, value, str(_RANGES[name]))
        if self.metric is not None and self.metric not in get_host().metrics:
            raise _refused("metric", self.metric, f"one of: {', '.join(get_host().metrics)}")
        if len(self.betas) != 2:
            raise _refused("betas", self.betas, "two numbers")

    @property
    def augmentation(self) -> Augmentation:
        """The part of the settings that varies clips."""
        return Augmentation(
            gain_db=self.gain_db or 0.0,
            time_shift=self.time_shift or 0.0,
            noise=self.noise,
            speed_change=self.speed_change,
            speed_rate=self.speed_rate,
            frequency_mask=self.frequency_mask or 0,
            time_mask=self.time_mask or 0,
            frequency_stripes=self.frequency_stripes,
            time_stripes=self.time_stripes,
            mask_with=self.mask_with,
            roll_frames=self.roll_frames,
        )

    @property
    def partners(self) -> SetPartners | None:
        """How clips are mixed with others of the whole training set; None where none are."""
        if self.wavmix_rate:
            return SetPartners(self.wavmix_alpha, self.wavmix_rate, dominant=True)
        if self.mixup_partner == "set" and self.mixup_alpha:
            return SetPartners(self.mixup_alpha, self.mixup_rate, follows=True)
        return None

    def resolved(self, *, single_label: bool, pretrained: bool, hears: bool = True, taught: bool = False) -> Settings:
        """The settings with every default filled in.

        Args:
            single_label: Whether each clip has exactly one class.
            pretrained: Whether the backbone starts from trained weights.
            hears: Whether it takes sound; without, what varies sound is switched off.
            taught: Whether there is a teacher.

        Raises:
            OptionError: A setting does not go with the others.
        """
        if self.distill_weight and not taught:
            raise OptionError(
                f"distill_weight is {self.distill_weight}, and there is no teacher",
                where="settings",
                fix="Give --teacher or --teacher-scores.",
            )
        frozen = self.freeze_backbone
        augmenting = hears and not frozen
        defaults: dict[str, Any] = {
            "epochs": 100 if frozen else 15 if pretrained else 30,
            "batch_size": 32,
            "loss": "ce" if single_label else "bce",
            "learning_rate": 1e-3 if frozen or not pretrained else 3e-4,
            "head_lr_ratio": 1.0 if frozen or not pretrained else 5.0,
            "weight_decay": 1e-2 if frozen else 1e-4,
            "mixup_alpha": 0.0 if frozen or self.mixstyle_rate else 0.3,
            "gain_db": 6.0 if augmenting else 0.0,
            "time_shift": 0.5 if augmenting else 0.0,
            "frequency_mask": 16 if augmenting else 0,
            "time_mask": 64 if augmenting else 0,
            "metric": "accuracy" if single_label else "mAP",
            "distill_weight": 0.9 if taught else 0.0,
            **SHAPES[self.schedule],
        }
        filled = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        settings = replace(self, **filled)
        if not hears:
            silent: dict[str, Any] = dict.fromkeys(_OF_SOUND, 0)
            settings = replace(settings, **silent)
        if settings.warmup is None:
            epochs = settings.epochs or 1
            usual = 0.3 * epochs if settings.schedule == "onecycle" else min(3.0, epochs / 10)
            settings = replace(settings, warmup=0.0 if settings.warmup_steps else usual)
        settings._check_schedule()
        settings._check_mixing()
        settings._check_average()
        if frozen:
            varied = [name for name in ("mixup_alpha", *_OF_SOUND) if getattr(settings, name)]
            if varied:
                raise OptionError(
                    f"{', '.join(varied)} cannot be used with a frozen backbone, which hears each clip once",
                    where="settings",
                    fix="Leave them out, or train the whole network.",
                )
        return settings

    def _check_schedule(self) -> None:
        """Refuse what would change nothing."""
        shape = SHAPES[self.schedule]
        for name in dict.fromkeys(name for names in SHAPES.values() for name in names):
            if getattr(self, name) is not None and name not in shape:
                owners = [schedule for schedule, names in SHAPES.items() if name in names]
                raise OptionError(
                    f"{name} does nothing with the schedule {self.schedule!r}",
                    where="settings",
                    fix=f"Leave it out; it belongs to {', '.join(owners)}.",
                )

    def _check_mixing(self) -> None:
        """Refuse ways of mixing that exclude each other."""
        if self.mixup_partner == "set" and self.mixup_alpha and self.mixup_on != "waveform":
            raise OptionError(
                "partners from the whole set are mixed in as waveforms, and mixup_on is 'spectrogram'",
                where="mixup_partner",
                fix="Set mixup_on to waveform, or mixup_partner to batch (wavmix_rate mixes waveforms beside it).",
            )
        if self.wavmix_rate and self.mixup_alpha and self.mixup_on == "waveform":
            raise OptionError(
                "wavmix stands beside the mixup of spectrograms, and mixup_on is 'waveform'",
                where="wavmix_rate",
                fix="Set mixup_on to spectrogram, or wavmix_rate to 0.",
            )
        if self.mixstyle_rate and self.mixup_alpha:
            raise OptionError(
                "Freq-MixStyle takes the place of mixup, and both are on",
                where="mixstyle_rate",
                fix="Set mixup_alpha to 0, or mixstyle_rate to 0.",
            )

    def _check_average(self) -> None:
        """Refuse a range of epochs that the run does not have."""
        if not self.average_from:
            return
        epochs = self.epochs or 1
        last = self.average_to or epochs
        if not self.average_from <= last <= epochs:
            raise OptionError(
                f"the epochs {self.average_from} to {last} are to be averaged, in a run of {epochs}",
                where="settings",
                fix="Change average_from and average_to; average_from 0 averages nothing.",
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain types, without those that are None."""
        plain: dict[str, Any] = _without_none(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: object = "settings") -> Settings:
        """Settings from plain types.

        Raises:
            OptionError: A name is unknown, or a value cannot work.
        """
        known = [one.name for one in fields(cls)]
        for name in values:
            if name not in known:
                raise OptionError(
                    f"there is no setting {name!r}",
                    where=where,
                    fix=suggest(name, known) or f"The settings are: {', '.join(known)}.",
                )
        try:
            return cls(**values)
        except OptionError as error:
            raise OptionError(error.what, where=where, fix=error.fix) from error


def _without_none(value: Any) -> Any:
    """Lists and tables as TOML has them: it knows no none."""
    if isinstance(value, Mapping):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list | tuple) else value


def _refused(name: str, value: Any, wanted: str) -> OptionError:
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a number of very many digits"
    return OptionError(
        f"{name} is {shown if len(shown) <= 60 else shown[:57] + '...'}", where="settings", fix=f"Give {wanted}."
    )
