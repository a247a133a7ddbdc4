"""One file out of a shared folder that is served as a ZIP archive, as Dropbox does."""

from __future__ import annotations

import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from audiotag.plugin import WeightsError

TIMEOUT_SECONDS = 30.0
"""How long the server may stay silent."""


def fetch(url: str, path: str | Path) -> None:
    """Download ``zip+ADDRESS#FILE``: the archive at ADDRESS, of which FILE is written to *path*.

    Raises:
        WeightsError: The address does not answer, gives no archive, or the archive lacks the file.
    """
    address, _, member = url.removeprefix("zip+").partition("#")
    with tempfile.TemporaryFile() as archive:
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
                shutil.copyfileobj(answer, archive)
        except urllib.error.HTTPError as error:
            raise WeightsError(f"the server answers {error.code} {error.reason}") from error
        except OSError as error:
            raise WeightsError(f"no connection ({getattr(error, 'reason', error)})") from error
        try:
            with zipfile.ZipFile(archive) as folder:
                names = [name for name in folder.namelist() if PurePosixPath(name).name == member]
                if not names:
                    raise WeightsError(f"the folder holds no {member}")
                with folder.open(names[0]) as source, Path(path).open("wb") as target:
                    shutil.copyfileobj(source, target)
        except zipfile.BadZipFile as error:
            raise WeightsError(f"the address gives no ZIP archive ({error})") from error
