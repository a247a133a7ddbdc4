"""Files on Google Drive, through gdown."""

from __future__ import annotations

from pathlib import Path

from audiotag.plugin import MissingExtraError, WeightsError


def fetch(url: str, path: str | Path) -> None:
    """Download ``gdrive:ID`` to *path*.

    Raises:
        MissingExtraError: gdown is not installed.
        WeightsError: Google Drive does not give the file.
    """
    try:
        import gdown
    except ImportError as error:
        raise MissingExtraError(
            "a file on Google Drive needs the package 'gdown', which is not installed",
            where=url,
            fix="Install it with: pip install 'audiotag-equiav[drive]'",
        ) from error
    identity = url.removeprefix("gdrive:")
    try:
        got = gdown.download(id=identity, output=str(path), quiet=True)
    except Exception as error:  # gdown raises its own and those of requests; all mean that there is no file
        raise WeightsError(f"Google Drive does not give the file: {error}", where=url) from error
    if got is None:
        raise WeightsError("Google Drive does not give the file", where=url)
