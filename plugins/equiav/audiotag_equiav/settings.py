"""How a network is pre-trained."""

from __future__ import annotations

from typing import Any

from audiotag.plugin import (
    FROM_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    AdamW,
    OptionError,
    Processes,
    Range,
    RateSchedule,
    RunLength,
    Seeded,
    get_host,
    setting,
    varied,
)


class PretrainingSettings(RunLength, AdamW, Seeded, Processes):
    """How a network is pre-trained. The defaults are the paper's, but for the number of processes."""

    WHERE = "pre-training"

    epochs: int = varied(RunLength, "epochs", default=20, help="Passes over the clips.")
    batch_size: int = varied(
        RunLength,
        "batch_size",
        default=128,
        range=Range(2, FROM_ONE.high),
        help="Pairs per step, over all processes; incomplete batches are dropped.",
    )
    learning_rate: float = varied(AdamW, "learning_rate", default=1e-4, help="Highest learning rate.")
    weight_decay: float = varied(AdamW, "weight_decay", default=1e-5, help="Decoupled weight decay.")
    betas: tuple[float, float] = varied(AdamW, "betas", default=(0.9, 0.95))
    warmup: float = varied(RateSchedule, "warmup", default=2.0, help="Epochs of linear warm-up.")
    start_factor: float = setting(2e-3, range=NOT_NEGATIVE, help="Factor of the rate at the start.")
    final_factor: float = setting(1e-2, range=NOT_NEGATIVE, help="Factor of the rate at the end.")
    centroid_count: int = setting(16, range=FROM_ONE, help="Transformations sampled for each clip's centroid.")
    temperature: float = setting(0.07, range=POSITIVE, help="Temperature of all losses.")
    inter_loss: str = setting("infonce", help="Loss between sounds and pictures (inter-modal).")
    intra_loss: str = setting("ntxent", help="Loss within each modality.")
    device: str = setting("auto", help="cpu, cuda or auto.")
    workers: int = varied(Processes, "workers", help="Reader processes per process.")
    save_steps: int = setting(500, range=FROM_ONE, help="Steps between checkpoints within an epoch.")

    def check(self, situation: Any) -> None:
        """Refuse pairs that cannot be shared, a warm-up as long as the run, and losses of class scores."""
        if self.batch_size % self.devices:
            raise OptionError(
                f"{self.batch_size} pairs cannot be shared equally by {self.devices} processes",
                where=self.WHERE,
                fix="Give a multiple as batch size.",
            )
        if self.warmup >= self.epochs:
            raise OptionError(
                f"a warm-up of {self.warmup:g} epochs does not fit a run of {self.epochs}", where=self.WHERE
            )
        for name in (self.inter_loss, self.intra_loss):
            if get_host().loss(name).task != "embedding":
                known = [one.name for one in get_host().losses.values() if one.task == "embedding"]
                raise OptionError(
                    f"the loss {name!r} is for class scores", where=self.WHERE, fix=f"Give one of: {', '.join(known)}."
                )
