"""How an on-line learner learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from audiotag.errors import OptionError
from audiotag.training.settings import Settings

Keep = Literal["audio", "embedding"]


@dataclass(frozen=True, kw_only=True)
class OnlineSettings:
    """How an on-line learner learns. ``None`` stands for a default that depends on the rest; `resolved` fills it in.

    The defaults were chosen on ESC-10 (see docs/continual.md).

    Attributes:
        freeze_backbone: Learn the head alone, on what the frozen backbone makes of a clip.
        replay: Stored clips that each step learns from beside the new one, drawn anew for every step.
        steps: Steps for each labelled clip.
        loss: Name of a loss plugin; None: ``ce`` for single-label models, else ``bce``.
        loss_options: Its options.
        optimiser: ``adamw``, ``adam`` or ``sgd``.
        learning_rate: Base rate; None: for a head alone 1e-3 (single-label) or 3e-3, for the whole network 1e-4.
        head_lr_ratio: The head's base rate as a multiple of `learning_rate`; None: 1 for a head alone, else 5.
        weight_decay: Decay of weights; None: 1e-2 for a head alone, else 1e-4.
        betas: Momentum terms of Adam.
        momentum: Momentum of SGD.
        schedule: ``constant``, ``cosine``, ``linear`` or ``step``; all but the first need `schedule_clips`.
        schedule_clips: Labelled clips that the schedule runs over; beyond, the rate stays at its end.
        warmup: Labelled clips of warm-up.
        final_lr: Factor of the base rate at the end of the schedule.
        clip_grad_norm: Largest norm of the gradient, None for no clipping.
        pseudo_label: Score from which a class that the model (or a teacher) hears in a clip without a label counts
            as its label; None to learn from given labels only.
        threshold: Score from which a class counts as observed; None: the model's tuned thresholds, else 0.5.
        keep: What the store keeps of a clip; None: ``embedding`` with a frozen backbone, else ``audio``.
        checkpoint_every: Clips between two checkpoints.
        seed: Seed of everything random.
    """

    freeze_backbone: bool = True
    replay: int = 16
    steps: int = 3
    loss: str | None = None
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    optimiser: str = "adamw"
    learning_rate: float | None = None
    head_lr_ratio: float | None = None
    weight_decay: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    schedule: str = "constant"
    schedule_clips: int | None = None
    warmup: int = 0
    final_lr: float = 0.01
    clip_grad_norm: float | None = None
    pseudo_label: float | None = None
    threshold: float | None = None
    keep: Keep | None = None
    checkpoint_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("replay", 0), ("steps", 0), ("checkpoint_every", 1), ("warmup", 0)):
            if getattr(self, name) < least:
                raise OptionError(f"{name} is {getattr(self, name)}", where="settings", fix=f"Give {least} or more.")
        if self.pseudo_label is not None and not 0 < self.pseudo_label <= 1:
            raise OptionError(
                f"pseudo_label is {self.pseudo_label}", where="settings", fix="Give a score above 0, at most 1."
            )
        if not 0 <= self.momentum < 1:
            raise OptionError(f"momentum is {self.momentum}", where="settings", fix="Give at least 0, below 1.")
        if self.schedule_clips is not None and self.schedule_clips < 1:
            raise OptionError(f"schedule_clips is {self.schedule_clips}", where="settings", fix="Give 1 or more.")
        if self.keep not in (None, "audio", "embedding"):
            raise OptionError(f"keep is {self.keep!r}", where="settings", fix="Give audio or embedding.")
        if self.keep == "embedding" and not self.freeze_backbone:
            raise OptionError(
                "embeddings say nothing to a backbone that learns", where="settings", fix="Keep audio, or freeze it."
            )
        if self.schedule != "constant" and self.schedule_clips is None:
            raise OptionError(
                f"the schedule {self.schedule!r} needs to know how long the stream is",
                where="settings",
                fix="Give schedule_clips, or the schedule constant.",
            )
        self.for_training()

    def for_training(self) -> Settings:
        """The part that optimisers and losses understand."""
        return Settings(
            loss=self.loss,
            loss_options=self.loss_options,
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            head_lr_ratio=self.head_lr_ratio,
            weight_decay=self.weight_decay,
            betas=self.betas,
            momentum=self.momentum,
            schedule=self.schedule,
            clip_grad_norm=self.clip_grad_norm,
        )

    def resolved(self, *, single_label: bool) -> OnlineSettings:
        """The settings with every default filled in.

        Args:
            single_label: Whether each clip has exactly one class.
        """
        frozen = self.freeze_backbone
        defaults: dict[str, Any] = {
            "loss": "ce" if single_label else "bce",
            "learning_rate": (1e-3 if single_label else 3e-3) if frozen else 1e-4,
            "head_lr_ratio": 1.0 if frozen else 5.0,
            "weight_decay": 1e-2 if frozen else 1e-4,
            "keep": "embedding" if frozen else "audio",
        }
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
