"""Fixtures shared by the tests of the core and of every plugin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_folder() -> Path:
    """Folder of golden numbers and assets: ``AUDIOTAG_ASSETS``, or ``../shared`` beside the checkout."""
    return Path(os.environ.get("AUDIOTAG_ASSETS", Path(__file__).parent.parent / "shared")).resolve()


@pytest.fixture(scope="session")
def assets() -> Path:
    """The shared folder; the test is skipped where it is missing."""
    folder = shared_folder()
    if not (folder / "golden").is_dir():
        pytest.skip(f"no golden numbers and assets in {folder} (set AUDIOTAG_ASSETS)")
    return folder
