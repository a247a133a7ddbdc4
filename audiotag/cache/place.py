"""Where the cache is, how much of it there may be, and what its entries are called."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from audiotag.errors import OptionError

DEFAULT_GB = 20.0
"""Bound of what is kept without being asked for."""


def cache_folder() -> Path:
    """The folder of everything audiotag keeps for a user: ``AUDIOTAG_CACHE``, or the platform's own place."""
    chosen = os.environ.get("AUDIOTAG_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("audiotag")


def cache_bound() -> int:
    """Bytes that what is computed may take: ``AUDIOTAG_CACHE_GB`` (powers of 1000), or `DEFAULT_GB`.

    Raises:
        OptionError: The variable is no number above 0.
    """
    text = os.environ.get("AUDIOTAG_CACHE_GB") or str(DEFAULT_GB)
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 < gigabytes < math.inf:
        raise OptionError(f"AUDIOTAG_CACHE_GB is {text!r}", fix="Give a number of gigabytes above 0.")
    return max(1, int(gigabytes * 1e9))


def cache_key(*parts: object) -> str:
    """The name of what is computed: the content that goes in, by its digest, and everything that has a say in it.

    The same things in the same order have the same name, on every machine, wherever the files lie.
    """
    return hashlib.blake2b(json.dumps(parts, default=str).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Usage:
    """How much there is.

    Attributes:
        entries: Things that are kept.
        bytes: Their size together.
    """

    entries: int
    bytes: int


class Room(Protocol):
    """A part of the cache that can be looked into and cleared."""

    def usage(self) -> Usage:
        """What it holds now; nothing is made where there is nothing."""

    def clear(self, before: float | None = None) -> Usage:
        """Remove what it holds, or what was last used before that moment (seconds since 1970), and say how much."""
