"""Recordings to review."""

from __future__ import annotations

from pathlib import Path

import pytest
from reviewed import Made, make


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """See `reviewed.make`."""
    return make(tmp_path / "sounds")
