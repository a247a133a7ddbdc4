"""How an on-line learner learns."""

from __future__ import annotations

from typing import Any, Literal

from audiotag.errors import OptionError
from audiotag.settings import ABOVE_ZERO, COUNT, FROM_ONE, SHARE, SettingsGroup, setting, varied
from audiotag.training.settings import Learner, Objective, Optimiser, RateSchedule, Seeded

Keep = Literal["audio", "embedding"]


_OF_ANALYTIC = (
    "learner",
    "forgetting",
    "seed",
    "pseudo_label",
    "threshold",
    "keep",
    "checkpoint_every",
    "ask_below",
    "ask_capacity",
)


class Replay(SettingsGroup):
    """What a clip is learnt with."""

    TITLE = "On-line learning"

    learner: Literal["gradient", "analytic"] = setting(
        "gradient",
        help="How it learns: steps of an optimiser with replay, or a head in closed form, which needs no store.",
    )
    replay: int = setting(
        by=lambda s, _: 0 if s.learner == "analytic" else 16,
        usual="16",
        range=COUNT,
        help="Stored clips replayed in each step beside the new one, drawn for every step.",
    )
    steps: int = setting(
        by=lambda s, _: 1 if s.learner == "analytic" else 3,
        usual="3",
        range=COUNT,
        help="Steps for each labelled clip.",
    )
    forgetting: float = setting(
        1.0,
        range=ABOVE_ZERO,
        help="analytic: factor on all that was learnt before, at each labelled clip; 0.999 follows a drift.",
    )


class OnlineSettings(Replay, Learner, Objective, Optimiser, Seeded):
    """How an on-line learner learns. The defaults were chosen on ESC-10 (see docs/continual.md).

    What is open depends on the model: the learner fills it in. docs/settings.md has all settings in tables.
    """

    freeze_backbone: bool = varied(
        Learner,
        "freeze_backbone",
        default=True,
        option="--freeze-backbone/--no-freeze-backbone",
        help="Train the head alone, on embeddings of the frozen backbone, or the whole network.",
    )
    learning_rate: float = varied(
        Optimiser,
        "learning_rate",
        by=lambda s, run: (1e-3 if run.single_label else 3e-3) if s.freeze_backbone else 1e-4,
        usual="1e-3, 3e-3 for multi-label models, 1e-4 for the whole network",
    )
    schedule: str = varied(
        RateSchedule,
        "schedule",
        default="constant",
        choices=("constant", "cosine", "linear", "step"),
        help="Learning rate schedule; all but constant need --schedule-clips.",
    )
    schedule_clips: int | None = setting(
        None, range=FROM_ONE, help="Length of the schedule in labelled clips; beyond, the rate stays at its end."
    )
    warmup: int = varied(RateSchedule, "warmup", default=0, range=COUNT, help="Labelled clips of warm-up.")
    final_lr: float = varied(
        RateSchedule, "final_lr", default=0.01, help="Factor of the base rate at the end of the schedule."
    )
    pseudo_label: float | None = setting(
        None,
        range=ABOVE_ZERO,
        help="Train on unlabelled clips too: classes with at least this score of the model or teacher.",
    )
    threshold: float | None = setting(
        None,
        usual="the model's tuned ones, or 0.5",
        range=SHARE,
        help="Score at which a class of an unlabelled clip counts as observed.",
    )
    ask_below: float | None = setting(
        None,
        range=SHARE,
        help="Ask about unlabelled clips of which the model is less sure; their embeddings wait for an answer.",
    )
    ask_capacity: int = setting(100, range=COUNT, help="Most clips that wait for an answer; the surest give way.")
    keep: Keep = setting(
        by=lambda s, _: "embedding" if s.freeze_backbone else "audio",
        usual="embedding, or audio for the whole network",
        help="Content of stored clips.",
    )
    checkpoint_every: int = setting(50, range=FROM_ONE, help="Clips between checkpoints.")

    def check(self, situation: Any) -> None:
        """Refuse what cannot be learnt from, what does nothing, and a schedule without an end."""
        if self.learner == "analytic" and (idle := self.idle(situation, _OF_ANALYTIC)):
            raise OptionError(
                f"{', '.join(idle)} do nothing in the analytic learner, which takes no steps",
                where=self.WHERE,
                fix="Leave them out, or learn with --learner=gradient.",
            )
        if self.learner != "analytic" and self.forgetting != 1.0:
            fix = "Leave it out, or give --learner=analytic."
            raise OptionError("forgetting is of the analytic learner", where=self.WHERE, fix=fix)
        if self.keep == "embedding" and not self.freeze_backbone:
            raise OptionError(
                "embeddings are useless to a backbone that is trained",
                where=self.WHERE,
                fix="Keep audio, or freeze it.",
            )
        if self.ask_below is not None and not self.freeze_backbone:
            raise OptionError(
                "what waits for an answer is an embedding, which is useless to a backbone that is trained",
                where=self.WHERE,
                fix="Leave ask_below out, or freeze the backbone.",
            )
        if self.schedule != "constant" and self.schedule_clips is None:
            raise OptionError(
                f"the schedule {self.schedule!r} needs the length of the stream",
                where=self.WHERE,
                fix="Give --schedule-clips, or --schedule=constant.",
            )
