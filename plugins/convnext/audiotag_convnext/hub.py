"""Files on Hugging Face, through huggingface_hub."""

from __future__ import annotations

import shutil
from pathlib import Path

from audiotag.plugin import WeightsError, needed_for


def fetch(url: str, path: str | Path) -> None:
    """Download ``hf:OWNER/REPOSITORY/FILE`` to *path*.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        WeightsError: Hugging Face does not give the file.
    """
    with needed_for(f"fetching {url}", extras={"huggingface_hub": "audiotag-convnext[hub]"}):
        from huggingface_hub import hf_hub_download
    owner, repository, filename = url.removeprefix("hf:").split("/", 2)
    try:
        cached = hf_hub_download(f"{owner}/{repository}", filename)
    except Exception as error:  # its own errors and those of its HTTP client; all mean that there is no file
        raise WeightsError(f"Hugging Face does not give the file: {error}") from error
    shutil.copyfile(cached, path)
