"""Which detections are cut out, and how."""

from __future__ import annotations

from typing import Any, Literal

from audiotag.errors import OptionError
from audiotag.settings import FROM_ONE, SHARE, Range, SettingsGroup, setting


class Choice(SettingsGroup):
    """Which detections are cut out."""

    WHERE = "segments"
    TITLE = "Choose detections"

    classes: tuple[str, ...] = setting((), option="--class", help="Only this class, by mid or name; may be repeated.")
    min_score: float | None = setting(None, range=SHARE, help="Only scores of at least this.")
    max_score: float | None = setting(None, range=SHARE, help="Only scores of at most this.")
    per_class: int | None = setting(None, range=FROM_ONE, help="Detections of a class at most.")
    total: int | None = setting(None, range=FROM_ONE, help="Detections in all at most.")
    order: Literal["highest", "random", "balanced"] = setting(
        "highest",
        help="Which are taken where there are too many: those with the highest scores, any, or as many from each tenth"
        " of the range of scores of each class.",
    )
    seed: int = setting(0, range=Range(0, 2**63 - 1), help="Seed of what is drawn.")

    def check(self, situation: Any) -> None:
        """Refuse a range of scores that holds none."""
        if self.min_score is not None and self.max_score is not None and self.min_score > self.max_score:
            raise OptionError(
                f"scores of at least {self.min_score:g} and at most {self.max_score:g}",
                where=self.WHERE,
                fix="Let --max-score be at least --min-score.",
            )

    @property
    def needs_scores(self) -> bool:
        """Whether every detection must have a score."""
        limited = self.per_class is not None or self.total is not None
        ranged = self.min_score is not None or self.max_score is not None
        return ranged or (limited and self.order != "random")


class SegmentSettings(Choice):
    """Which detections are cut out, and how; docs/settings.md has all settings in tables."""

    TITLE = "Cut"

    padding: float = setting(0.0, range=Range(0, 3600), help="Seconds before and after each detection.")
    overlaps: Literal["keep", "join"] = setting(
        "keep",
        help="What becomes of detections that overlap, with their padding: a file for each, of its class alone, or one"
        " file with all of them and their labels.",
    )
    format: Literal["flac", "wav"] = setting("flac", help="Format of the files, of 16 bits.")
    sample_rate: int | None = setting(
        None, range=Range(1000, 655_350), help="Hz of the files.  [default: those of the recording]"
    )
