"""The settings of a fine-tuning run: each stands here once, with its meaning, default and range."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from audiotag.arguments import whole_number
from audiotag.audio.augmentation import Augmentation
from audiotag.errors import OptionError, suggest
from audiotag.settings import (
    ABOVE_ZERO,
    BELOW_ONE,
    COUNT,
    FROM_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Range,
    SettingsGroup,
    declared,
    setting,
    varied,
)
from audiotag.specs import MetricSpec, OptimiserSpec, ScheduleSpec, Spec

if TYPE_CHECKING:
    from audiotag.host import Host

FREE_TO_CHANGE = frozenset({"workers", "device", "logger"})
"""What a run that goes on may have otherwise than it began: it changes no number."""


def _host() -> Host:
    from audiotag.host import get_host  # here, because options are made from the declarations for every --help

    return get_host()


def _registered(spec: type[Spec]) -> Callable[[], Collection[str]]:
    return lambda: _host().registry(spec)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the defaults of a run depend on beside its settings.

    Attributes:
        single_label: Whether each clip has exactly one class.
        pretrained: Whether the backbone starts from trained weights.
        bears: What may be varied (`Backbone.augmentations`); where it is nothing, variation is switched off.
        taught: Whether there is a teacher.
        no_frames: Why frames cannot be learned from, as a clause; empty where they can.
        times_events: Whether there are clips to validate on of which it is said when something is heard.
    """

    single_label: bool
    pretrained: bool
    bears: tuple[str, ...] = ("waveform", "spectrogram")
    taught: bool = False
    no_frames: str = "no clip says when its classes are heard"
    times_events: bool = False


class RunLength(SettingsGroup):
    """How long a run is."""

    TITLE = "Training"

    epochs: int = setting(
        by=lambda s, run: 100 if s.freeze_backbone and s.supervision == "clips" else 15 if run.pretrained else 30,
        usual="15; 30 from scratch, 100 for a head alone on embeddings",
        range=FROM_ONE,
        help="Passes over the data.",
    )
    batch_size: int = setting(32, range=FROM_ONE, help="Batch size, over all processes.")


class Learner(SettingsGroup):
    """What learns."""

    TITLE = "Training"

    freeze_backbone: bool = setting(False, help="Train the head alone, on embeddings of the frozen backbone.")


class Adapting(SettingsGroup):
    """What learns inside a network that stays as it is."""

    TITLE = "Training"

    adapter: Mapping[str, float] = setting(
        {}, range=POSITIVE, help="Train low-rank adapters of a frozen transformer, and the head: rank=8[,alpha=8]."
    )

    @property
    def adapter_shape(self) -> tuple[int, float]:
        """Rank and alpha of the adapters."""
        rank = int(self.adapter["rank"])
        return rank, float(self.adapter.get("alpha", rank))

    def check(self, situation: Any) -> None:
        """Refuse adapters that there cannot be."""
        for name in self.adapter:
            if name not in ("rank", "alpha"):
                fix = suggest(name, ("rank", "alpha")) or "Give rank=8 or rank=8,alpha=16."
                raise OptionError(f"an adapter has no {name!r}", where="adapter", fix=fix)
        if self.adapter:
            whole_number("the adapter's rank", self.adapter.get("rank"))


class Events(SettingsGroup):
    """What is learned of sound events."""

    TITLE = "Sound events"

    supervision: Literal["frames", "clips"] = setting(
        by=lambda s, run: "clips" if run.no_frames or run.single_label else "frames",
        usual="frames where clips say when and the model scores frames",
        help="Learn when classes are heard, or in which clips.",
    )
    weak_weight: float = setting(
        1.0, range=NOT_NEGATIVE, help="Weight of clips that do not say when, where frames are learned from."
    )

    def check(self, situation: Situation) -> None:
        """Refuse frames that cannot be learned from."""
        if self.supervision == "frames" and situation.no_frames:
            raise OptionError(
                f"frames cannot be learned from: {situation.no_frames}",
                where="supervision",
                fix="Give --supervision=clips, or clips with onsets and offsets and a model that scores frames (fmn).",
            )
        if self.supervision == "frames" and situation.single_label:
            raise OptionError(
                "frames are learned from with any number of classes, and these clips have exactly one each",
                where="supervision",
                fix="Give --multi-label, or --supervision=clips.",
            )


class Objective(SettingsGroup):
    """What is minimised."""

    TITLE = "Training"

    loss: str = setting(
        by=lambda s, run: "ce" if run.single_label else "bce",
        usual="ce for single-label data, else bce",
        help="Name of a loss plugin.",
    )
    loss_options: Mapping[str, Any] = setting({}, of="loss", option="--loss-option", help="Option of the loss.")


def _begins_anew(s: Any, run: Situation) -> bool:
    """Whether all that learns begins untrained."""
    return s.freeze_backbone or bool(getattr(s, "adapter", None)) or not run.pretrained


class AdamW(SettingsGroup):
    """The least that an optimiser takes."""

    TITLE = "Optimiser"

    learning_rate: float = setting(
        by=lambda s, run: 1e-3 if _begins_anew(s, run) else 3e-4,
        usual="3e-4; 1e-3 for a head alone, adapters, or from scratch",
        range=Range(0, 1e38, above=True),  # what float32 holds
        help="Base learning rate.",
    )
    weight_decay: float = setting(
        by=lambda s, run: 1e-2 if s.freeze_backbone else 1e-4,
        usual="1e-4, or 1e-2 with a frozen backbone",
        range=NOT_NEGATIVE,
        help="Weight decay, decoupled in adamw.",
    )
    betas: tuple[float, float] = setting((0.9, 0.999), range=BELOW_ONE, help="Momentum terms of Adam.")


class Optimiser(AdamW):
    """How parameters follow the gradient."""

    optimiser: str = setting("adamw", choices=_registered(OptimiserSpec), help="Optimiser.")
    optimiser_options: Mapping[str, Any] = setting(
        {}, of="optimiser", option="--optimiser-option", help="Option of the optimiser."
    )
    momentum: float = setting(0.9, range=BELOW_ONE, help="Momentum of sgd.")
    head_lr_ratio: float = setting(
        by=lambda s, run: 1.0 if _begins_anew(s, run) else 5.0,
        usual="5; 1 for a head alone, adapters, or from scratch",
        range=POSITIVE,
        help="The head's learning rate as a multiple of the base rate.",
    )
    clip_grad_norm: float | None = setting(None, usual="no clipping", range=POSITIVE, help="Largest gradient norm.")


class Seeded(SettingsGroup):
    """Randomness."""

    TITLE = "Training"

    seed: int = setting(0, range=Range(-(2**63), 2**63 - 1), help="Random seed.")


def _shape(schedule: str) -> Mapping[str, float | None]:
    """The settings that shape a schedule, and their defaults."""
    return _host().schedule(schedule).shape


class RateSchedule(SettingsGroup):
    """How the rate changes. What belongs to another schedule is refused."""

    TITLE = "Learning rate schedule"

    schedule: str = setting(
        "cosine",
        choices=_registered(ScheduleSpec),
        help="Learning rate schedule.",
    )
    warmup: float = setting(
        by=lambda s, _: (
            0.0 if s.warmup_steps else 0.3 * s.epochs if s.schedule == "onecycle" else min(3.0, s.epochs / 10)
        ),
        usual="a tenth of the run, at most 3; onecycle: three tenths; none with --warmup-steps",
        range=NOT_NEGATIVE,
        of="schedule",
        help="Epochs of warm-up.",
    )
    warmup_steps: int = setting(
        0, range=COUNT, help="Steps of linear warm-up, in twenty stairs, in addition to the schedule."
    )
    initial_lr: float | None = setting(
        by=lambda s, _: _shape(s.schedule).get("initial_lr"),
        usual="0; onecycle: 0.04",
        range=NOT_NEGATIVE,
        of="schedule",
        help="Factor of the rate at the start of the warm-up (not for linear).",
    )
    final_lr: float | None = setting(
        by=lambda s, _: _shape(s.schedule).get("final_lr"),
        usual="0.01; onecycle: 4e-6",
        range=NOT_NEGATIVE,
        of="schedule",
        help="cosine, onecycle, linear: factor of the rate at the end.",
    )
    ramp_start: float | None = setting(
        None,
        usual="linear: the end of the warm-up; step: half of the run",
        range=NOT_NEGATIVE,
        of="schedule",
        help="linear, step: epoch at which the rate starts to fall.",
    )
    ramp_length: float | None = setting(
        None,
        usual="the rest of the run",
        range=POSITIVE,
        of="schedule",
        help="linear: epochs over which the rate falls.",
    )
    step_every: float | None = setting(
        by=lambda s, _: _shape(s.schedule).get("step_every"),
        usual="5",
        range=POSITIVE,
        of="schedule",
        help="step: epochs between halvings.",
    )

    @property
    def shape(self) -> dict[str, Any]:
        """What shapes the schedule beside the warm-up, by name."""
        return {name: getattr(self, name) for name in _shape(self.schedule)}

    def check(self, situation: Any) -> None:
        """Refuse what would change nothing."""
        shapes = {name: spec.shape for name, spec in _host().schedules.items()}
        for name in dict.fromkeys(name for names in shapes.values() for name in names):
            if getattr(self, name) is not None and name not in _shape(self.schedule):
                owners = [schedule for schedule, names in shapes.items() if name in names]
                raise OptionError(
                    f"{name} does nothing with the schedule {self.schedule!r}",
                    where=self.WHERE,
                    fix=f"Leave it out; it belongs to {', '.join(owners)}.",
                )


class Mixing(SettingsGroup):
    """How clips are mixed with one another."""

    TITLE = "Mixing clips"

    mixup_alpha: float = setting(
        by=lambda s, _: 0.0 if s.freeze_backbone or s.mixstyle_rate else 0.3,
        usual="0.3; 0 for a head alone or with mixstyle",
        range=NOT_NEGATIVE,
        varies="clip",
        help="Mixup with λ from Beta(a, a), 0 for none.",
    )
    mixup_rate: float = setting(1.0, range=SHARE, help="Share of clips that are mixed.")
    mixup_on: Literal["spectrogram", "waveform"] = setting("spectrogram", help="What is mixed.")
    mixup_partner: Literal["batch", "set"] = setting(
        "batch", help="set: mix waveforms with any training clip, as in PSLA."
    )
    wavmix_rate: float = setting(
        0.0,
        range=SHARE,
        varies="waveform",
        help="Share of clips mixed as waveforms with any training clip, before mixup.",
    )
    wavmix_alpha: float = setting(2.0, range=POSITIVE, help="λ of wavmix from Beta(a, a).")
    mixstyle_rate: float = setting(
        0.0, range=SHARE, varies="spectrogram", help="Freq-MixStyle instead of mixup: probability per batch."
    )
    mixstyle_alpha: float = setting(0.4, range=POSITIVE, help="λ of Freq-MixStyle from Beta(a, a).")
    label_smoothing: float = setting(0.0, range=BELOW_ONE, help="Targets become 1 - s and s / classes.")

    def check(self, situation: Any) -> None:
        """Refuse ways of mixing that exclude each other."""
        if self.mixup_partner == "set" and self.mixup_alpha and self.mixup_on != "waveform":
            raise OptionError(
                "partners from the whole set are mixed in as waveforms, and mixup_on is 'spectrogram'",
                where="mixup_partner",
                fix="Give --mixup-on=waveform, or --mixup-partner=batch (--wavmix-rate mixes waveforms beside it).",
            )
        if self.wavmix_rate and self.mixup_alpha and self.mixup_on == "waveform":
            raise OptionError(
                "wavmix stands beside the mixup of spectrograms, and mixup_on is 'waveform'",
                where="wavmix_rate",
                fix="Give --mixup-on=spectrogram, or --wavmix-rate 0.",
            )
        if self.mixstyle_rate and self.mixup_alpha:
            raise OptionError(
                "Freq-MixStyle takes the place of mixup, and both are on",
                where="mixstyle_rate",
                fix="Give --mixup-alpha 0, or --mixstyle-rate 0.",
            )


def _while_it_learns(what: str, value: float) -> dict[str, Any]:
    """A default for networks that bear to have *what* varied, and learn as a whole."""
    return {
        "by": lambda s, run: value if what in run.bears and not s.freeze_backbone else type(value)(0),
        "usual": f"{value:g}; 0 for a head alone",
    }


class Variation(Augmentation):
    """How clips are varied."""

    TITLE = "Augmentation"

    gain_db: float = varied(Augmentation, "gain_db", **_while_it_learns("waveform", 6.0))
    time_shift: float = varied(Augmentation, "time_shift", **_while_it_learns("waveform", 0.5))
    frequency_mask: int = varied(Augmentation, "frequency_mask", **_while_it_learns("spectrogram", 16))
    time_mask: int = varied(
        Augmentation,
        "time_mask",
        by=lambda s, run: (
            64 if "spectrogram" in run.bears and not s.freeze_backbone and s.supervision == "clips" else 0
        ),
        usual="64; 0 for a head alone or where frames are learned from",
    )
    augmentations: tuple[str, ...] = setting(
        (),
        option="--augment",
        help="Augmentation of a plugin, applied after those above, in the order given.",
    )
    augmentation_options: Mapping[str, Mapping[str, Any]] = setting(
        {}, of="augmentations", option="--augment-option", help="Option of an augmentation."
    )

    def check(self, situation: Any) -> None:
        """Refuse options of what is not done."""
        for name in self.augmentation_options:
            if name not in self.augmentations:
                raise OptionError(
                    f"there are options for {name!r}, which is none of the augmentations",
                    where="augmentation_options",
                    fix=suggest(name, self.augmentations) or f"Name it too (--augment={name}).",
                )


class Sampling(SettingsGroup):
    """Which clips a pass takes, and how much of them."""

    TITLE = "Sampling"

    sampler: str = setting("shuffle", help="Sampling of clips (shuffle, balanced, or a plugin's).")
    sampler_options: Mapping[str, Any] = setting(
        {}, of="sampler", option="--sampler-option", help="Option of the sampler (weights=weights.csv)."
    )
    seconds: float | None = setting(
        None,
        usual="the 95th percentile of clip lengths, within the model's limits",
        range=Range(0, 3600, above=True),
        help="Clip length in training; shorter clips are repeated, longer ones cropped at random.",
    )


class Teaching(SettingsGroup):
    """What a teacher says."""

    TITLE = "Distillation"

    distill_weight: float = setting(
        by=lambda s, run: 0.9 if run.taught else 0.0,
        usual="0.9 with a teacher",
        range=SHARE,
        help="Weight of the teacher in the loss.",
    )
    temperature: float = setting(1.0, range=POSITIVE, help="Distillation temperature.")

    def check(self, situation: Any) -> None:
        """Refuse a share of nobody."""
        if self.distill_weight and not situation.taught:
            raise OptionError(
                f"distill_weight is {self.distill_weight}, and there is no teacher",
                where=self.WHERE,
                fix="Give --teacher or --teacher-scores.",
            )


class Averaging(SettingsGroup):
    """Averages of the weights."""

    TITLE = "Averaging weights"

    average_from: int = setting(
        0, usual="none", range=COUNT, help="First epoch of the weight average (checkpoint averaged), 0 for none."
    )
    average_to: int = setting(
        0, usual="the last", range=COUNT, help="Last epoch of the weight average, 0 for the last of the run."
    )
    ema_decay: float = setting(
        0.0, usual="none", range=BELOW_ONE, help="Decay of the exponential moving average of weights (checkpoint ema)."
    )
    keep_epochs: bool = setting(False, help="Keep every epoch's checkpoint, as epochs/epoch_001.")


class Measuring(SettingsGroup):
    """What "best" means, and when it is enough."""

    TITLE = "Best epoch"

    metric: str = setting(
        by=lambda s, run: (
            "accuracy" if run.single_label else "psds1" if s.supervision == "frames" and run.times_events else "mAP"
        ),
        usual="accuracy for single-label data, psds1 where frames are learned from, else mAP",
        choices=_registered(MetricSpec),
        help="Metric that selects the best epoch.",
    )
    early_stopping: int | None = setting(
        None, usual="never", range=FROM_ONE, help="Stop after this many epochs without improvement."
    )
    summary: bool | None = setting(
        None, usual="with --test, an average, or kept epochs", help="Evaluate the finished models."
    )


class Processes(SettingsGroup):
    """What computes."""

    TITLE = "Hardware"

    precision: Literal["32", "16-mixed", "bf16-mixed"] = setting("32", help="Numerical precision.")
    devices: int = setting(1, range=Range(1, 1024), help="Number of processes, one per GPU.")
    workers: int = setting(1, range=Range(0, 1024), help="Processes that decode clips.")


class Hardware(Processes):
    """What computes, and what it takes on disk."""

    device: str = setting("auto", help="cpu, cuda or auto.")
    strategy: str = setting("auto", help="Strategy of Lightning Fabric for several processes (ddp).")
    audio_cache_gb: float = setting(
        0.0,
        usual="0, none",
        range=NOT_NEGATIVE,
        help="Cache of decoded clips on disk, in GB.",
    )
    logger: Literal["csv", "tensorboard", "wandb"] = setting("csv", help="Log beside log.csv.")


class Settings(
    RunLength,
    Learner,
    Adapting,
    Events,
    Objective,
    Optimiser,
    RateSchedule,
    Mixing,
    Variation,
    Sampling,
    Teaching,
    Measuring,
    Averaging,
    Seeded,
    Hardware,
):
    """How a model is trained.

    `from_dict` takes what a user asks for; `resolve` fills in what the situation decides. docs/settings.md has all of
    them in tables.
    """

    head: Literal["gradient", "analytic"] = setting(
        "gradient",
        group="Training",
        help="How the head comes about: by steps, or in closed form from embeddings of the frozen backbone.",
    )
    batch_norm_momentum: float | None = setting(
        None, usual="adapted to the length of the run", range=ABOVE_ZERO, help="Momentum of batch-norm statistics."
    )

    @property
    def freezes(self) -> bool:
        """Whether the backbone stays as it is."""
        return self.freeze_backbone or self.head == "analytic"

    @property
    def averaged(self) -> range:
        """The epochs (from 1) whose weights go into the checkpoint ``averaged``; empty for no average."""
        return range(self.average_from, (self.average_to or self.epochs) + 1) if self.average_from else range(0)

    def resolve(self, situation: Situation) -> Self:
        """The settings with every default filled in; variation of sound is off where the model bears none."""
        if self.freezes and not self.freeze_backbone:
            return self.replaced(freeze_backbone=True).resolve(situation)
        if situation.bears:
            return super().resolve(situation)
        off = {name: 0 for name in self.unborne(situation) if name not in self.augmentations}
        return super(Settings, self.replaced(**off, augmentations=(), augmentation_options={})).resolve(situation)

    def unborne(self, situation: Situation) -> list[str]:
        """The settings and augmentations, by name, that vary what the model does not bear to have varied."""
        borne, host = (None, "clip", *situation.bears), _host()
        ours = [name for name, one in declared(type(self)).items() if one.varies not in borne and vars(self).get(name)]
        return ours + [name for name in self.augmentations if host.augmentation(name).on not in borne]

    def check(self, situation: Situation) -> None:
        """Refuse to vary what is heard once, averages of no epochs, and metrics of what is not learned."""
        if self.adapter and (
            idle := [name for name in ("freeze_backbone", "batch_norm_momentum") if getattr(self, name)]
        ):
            raise OptionError(
                f"with adapters the network stays as it is and learns beside them: {', '.join(idle)} do nothing",
                where="adapter",
                fix="Leave out one or the other.",
            )
        if self.head == "analytic":
            self._check_analytic(situation)
        of_events = _host().metric(self.metric).task == "events"
        if of_events and not (self.supervision == "frames" and situation.times_events):
            what, fix = "are not learned", "learn from frames (--supervision=frames)"
            if self.supervision == "frames":
                what, fix = "no clip to validate on has", "validate on clips that say when their classes are heard"
            raise OptionError(
                f"the metric {self.metric!r} is for sound events, which {what}",
                where="metric",
                fix=f"Choose another, mAP for one, or {fix}.",
            )
        changing = [name for name, one in declared(type(self)).items() if one.varies and getattr(self, name)]
        changing += self.augmentations
        if self.freeze_backbone and changing and self.supervision == "clips":
            raise OptionError(
                f"{', '.join(changing)} cannot be used with a frozen backbone, which processes each clip once",
                where=self.WHERE,
                fix="Leave them out, or train the whole network.",
            )
        if unborne := self.unborne(situation):
            raise OptionError(
                f"{', '.join(unborne)} do not suit this network "
                f"(it takes augmentations of: {', '.join(situation.bears) or 'nothing'})",
                where=self.WHERE,
                fix="Leave them out, or set them to 0.",
            )
        if self.average_from and not (self.averaged and self.averaged[-1] <= self.epochs):
            raise OptionError(
                f"the epochs {self.average_from} to {self.averaged.stop - 1} are to be averaged, in a run of "
                f"{self.epochs}",
                where=self.WHERE,
                fix="Change --average-from and --average-to; --average-from 0 averages nothing.",
            )

    def _check_analytic(self, situation: Situation) -> None:
        """Refuse what does nothing where no step is taken."""
        idle = self.idle(situation, _OF_CLOSED_FORM) + (["teacher"] if situation.taught else [])
        if idle:
            raise OptionError(
                f"{', '.join(idle)} do nothing for a head in closed form, which takes no steps",
                where=self.WHERE,
                fix="Leave them out, or train with --head=gradient.",
            )


_OF_CLOSED_FORM = frozenset(
    {"head", "freeze_backbone", "seed", "seconds", "metric", "summary", "audio_cache_gb"} | FREE_TO_CHANGE
)
