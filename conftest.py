"""Fixtures shared by the tests of the core and of every plugin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The machines that run this are shared: a slow example says nothing about the code.
settings.register_profile("audiotag", deadline=None)
settings.load_profile("audiotag")


def shared_folder() -> Path:
    """Folder of golden numbers and assets: ``AUDIOTAG_ASSETS``, or ``../shared`` beside the checkout."""
    return Path(os.environ.get("AUDIOTAG_ASSETS", Path(__file__).parent.parent / "shared")).resolve()


@pytest.fixture(scope="session")
def assets() -> Path:
    """The shared folder; where it is missing the test is skipped, or fails under ``AUDIOTAG_REQUIRE_ASSETS``."""
    folder = shared_folder()
    if not (folder / "golden").is_dir():
        reason = f"no golden numbers and assets in {folder} (set AUDIOTAG_ASSETS)"
        if os.environ.get("AUDIOTAG_REQUIRE_ASSETS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
