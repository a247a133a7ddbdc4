"""How a network is pre-trained."""

from __future__ import annotations

from dataclasses import dataclass

from audiotag.errors import OptionError


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
        object.__setattr__(self, "betas", tuple(self.betas))
        for name, least in (
            ("epochs", 1),
            ("devices", 1),
            ("batch_size", 2),
            ("centroid_count", 1),
            ("workers", 0),
            ("save_steps", 1),
            ("warmup", 0),
            ("weight_decay", 0),
        ):
            if getattr(self, name) < least:
                raise OptionError(
                    f"{name} is {getattr(self, name)}", where="pre-training", fix=f"Give at least {least}."
                )
        if not self.learning_rate > 0:
            raise OptionError(f"learning_rate is {self.learning_rate}", where="pre-training")
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
