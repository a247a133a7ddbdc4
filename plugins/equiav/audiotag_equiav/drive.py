"""Files on Google Drive, through gdown."""

from __future__ import annotations

from pathlib import Path

from audiotag.plugin import WeightsError, needed_for


def fetch(url: str, path: str | Path) -> None:
    """Download ``gdrive:ID`` to *path*.

    Raises:
        MissingExtraError: gdown is not installed.
        WeightsError: Google Drive does not give the file.
    """
    with needed_for(f"fetching {url}", extras={"gdown": "audiotag-equiav[drive]"}):
        import gdown
    identity = url.removeprefix("gdrive:")
    try:
        got = gdown.download(id=identity, output=str(path), quiet=True)
    except Exception as error:  # gdown raises its own and those of requests; all mean that there is no file
        raise WeightsError(f"Google Drive does not give the file: {error}", where=url) from error
    if got is None:
        raise WeightsError("Google Drive does not give the file", where=url)
