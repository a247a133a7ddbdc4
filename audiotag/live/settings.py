"""How a device listens."""

from __future__ import annotations

from typing import Any, Literal

from audiotag.errors import OptionError
from audiotag.settings import FROM_ONE, POSITIVE, Range, SettingsGroup, setting

_SECONDS = Range(0, 3600)

DropPolicy = Literal["oldest", "least_certain", "most_frequent"]


class Hearing(SettingsGroup):
    """What is done with the sound."""

    TITLE = "Listening"

    early: bool = setting(
        True,
        option="--early/--no-early",
        help="Tell of an event as soon as one window hears it, which the following windows may not confirm; or when it"
        " is certain, a window later.",
    )
    gate_db: float | None = setting(
        None,
        range=Range(-150, 0),
        help="Do not compute windows in which no tenth of a second is this loud, in dB below full scale (-60, say).",
    )
    buffer: float = setting(
        30.0,
        range=Range(1, 3600),
        help="Seconds of sound that may wait while the machine is busy; beyond, the older half is dropped, and told.",
    )
    status: float = setting(
        60.0, range=Range(1, 86_400), help="Seconds of sound between reports of level, clipping and losses."
    )


class KeptClips(SettingsGroup):
    """Recordings of what was heard."""

    TITLE = "Recordings"

    pre_roll: float = setting(2.0, range=_SECONDS, help="Seconds kept before an event.")
    post_roll: float = setting(2.0, range=_SECONDS, help="Seconds kept after an event.")
    longest_clip: float = setting(
        30.0, range=Range(1, 3600), help="Seconds of an event that are kept at most, from its beginning."
    )
    clip_format: Literal["flac", "wav"] = setting("flac", help="Format of recordings, of 16 bits.")
    keep_mb: float = setting(1000.0, range=POSITIVE, help="MB that all recordings may take.")
    keep_clips: int | None = setting(None, range=FROM_ONE, help="Number of recordings that are kept at most.")
    keep_days: float | None = setting(None, range=POSITIVE, help="Days after which a recording is removed.")
    drop: DropPolicy = setting(
        "oldest",
        help="What goes first where there are too many: the oldest, the one with the lowest score, or the oldest of the"
        " class that has most.",
    )


class ListenSettings(Hearing, KeptClips):
    """How a device listens; docs/settings.md has all settings in tables."""

    def check(self, situation: Any) -> None:
        """Refuse recordings that do not fit their bound."""
        seconds = self.pre_roll + self.longest_clip + self.post_roll
        if seconds * 32_000 > self.keep_mb * 1e6:  # 16 kHz, 16 bits
            raise OptionError(
                f"recordings of {seconds:g} s do not fit {self.keep_mb:g} MB",
                where=self.WHERE,
                fix="Give a larger --keep-mb, or a shorter --longest-clip.",
            )
