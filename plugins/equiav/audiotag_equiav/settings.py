"""How a network is pre-trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from audiotag.plugin import OptionError, suggest, wrongly_typed

_MOST = 2**31 - 1
_BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, _MOST),
    "batch_size": (2, _MOST),
    "centroid_count": (1, _MOST),
    "save_steps": (1, _MOST),
    "devices": (1, 1024),
    "workers": (0, 1024),
    **dict.fromkeys(("warmup", "weight_decay", "start_factor", "final_factor"), (0, math.inf)),
    # Above zero, and below one.
    **dict.fromkeys(("learning_rate", "temperature"), (math.ulp(0.0), math.inf)),
    "betas": (0, math.nextafter(1, 0)),
}
"""Least and most that a number may be."""


@dataclass(frozen=True)
class PretrainingSettings:
    """How a network is pre-trained. The defaults are the paper's, but for the number of processes.

    Attributes:
        epochs: Passes over the clips.
        batch_size: Pairs a step, over all processes; the clips left over at the end of an epoch are not used.
        learning_rate: Highest rate.
        weight_decay: Decoupled decay of weights.
        betas: Momentum terms of AdamW.
        warmup: Epochs of linear warm-up.
        start_factor: Factor of the rate at the start.
        final_factor: Factor of the rate at the end.
        centroid_count: Transformations sampled for each clip's centroid.
        temperature: Of all losses.
        inter_loss: Loss plugin between modalities.
        intra_loss: Loss plugin within a modality.
        seed: Seed of everything random.
        precision: ``32-true``, ``16-mixed`` or ``bf16-mixed``.
        accelerator: ``cpu``, ``cuda`` or ``auto``.
        devices: Processes; on GPUs each has one of its own.
        workers: Processes that read clips, for each of them.
        save_steps: Steps between checkpoints within an epoch.
    """

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.95)
    warmup: float = 2.0
    start_factor: float = 2e-3
    final_factor: float = 1e-2
    centroid_count: int = 16
    temperature: float = 0.07
    inter_loss: str = "infonce"
    intra_loss: str = "ntxent"
    seed: int = 0
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int = 1
    workers: int = 1
    save_steps: int = 500

    def __post_init__(self) -> None:
        values = asdict(self)
        wrong = wrongly_typed(type(self), values)
        if wrong is not None:
            raise OptionError(f"{wrong[0]} is {values[wrong[0]]!r}", where="pre-training", fix=f"Give {wrong[1]}.")
        object.__setattr__(self, "betas", tuple(self.betas))
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if not (least <= number <= most and abs(number) < math.inf):
                    above = "more than 0" if least == math.ulp(0.0) else f"at least {least:g}"
                    below = "" if most == math.inf else f" and at most {most:g}" if most > 1 else " and less than 1"
                    raise OptionError(f"{name} is {number}", where="pre-training", fix=f"Give {above}{below}.")
        if len(self.betas) != 2:
            raise OptionError(f"betas are {len(self.betas)} numbers", where="pre-training", fix="Give two.")
        if self.batch_size % self.devices:
            raise OptionError(
                f"{self.batch_size} pairs cannot be shared equally by {self.devices} processes",
                where="pre-training",
                fix="Give a multiple as batch size.",
            )
        if self.warmup >= self.epochs:
            raise OptionError(
                f"a warm-up of {self.warmup:g} epochs does not fit a run of {self.epochs}", where="pre-training"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PretrainingSettings:
        """Settings from plain values.

        Raises:
            OptionError: A name is unknown, or a value cannot work.
        """
        for name in values:
            if name not in cls.__dataclass_fields__:
                raise OptionError(
                    f"there is no setting {name!r}",
                    where="pre-training",
                    fix=suggest(name, list(cls.__dataclass_fields__)),
                )
        return cls(**values)
