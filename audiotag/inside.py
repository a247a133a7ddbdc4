"""The one rule for files whose names come from data: whatever a list or an archive calls them, they stay in the folder.

A user may write anywhere; a name out of a list, an archive or a descriptor may not.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from audiotag import places
from audiotag.errors import AudiotagError

_DRIVE = re.compile(r"[A-Za-z]:")
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Windows opens these whatever ending they have, and in every folder.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
# Nor does Windows have files with these names: a colon leads to another content of the file before it, dots go.
_NOT_ON_WINDOWS = re.compile(r'.*[<>:"|?*].*|.*[. ]')
_LONGEST = 240
"""Bytes of one part of a name: file systems take 255, and a temporary file needs a few more."""


def path_inside(folder: str | Path, name: str, *, error: type[AudiotagError], where: object = None) -> Path:
    """The file called *name* in *folder*, where *name* comes from data.

    Slashes and backslashes both separate folders. The rule is the same on every system, because what is written on one
    is read on another; but colons and the like, which recordings are called by in the field, are refused where the
    system has no such files.

    Args:
        folder: Where the file has to be.
        name: What the data calls it; may name folders in *folder*.
        error: What to raise.
        where: Which list or clip names it, for the error.

    Raises:
        AudiotagError: As *error*: the name is empty, absolute or leads up, a part of it is reserved, too long, or holds
            control characters, or a link in *folder* leads elsewhere.
    """
    folder = Path(folder)
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if not parts:
        what = "names no file"
    elif name[0] in "/\\" or _DRIVE.match(name):
        what = "is absolute"
    elif ".." in parts:
        what = "leads out of its folder"
    elif _UNWRITABLE.search(name):
        what = "holds control characters"
    elif any(_DEVICE.fullmatch(part) for part in parts):
        what = "is the name of a device on Windows"
    elif places.WINDOWS and any(_NOT_ON_WINDOWS.fullmatch(part) for part in parts):
        what = "is none that Windows has"
    elif any(len(part.encode()) > _LONGEST for part in parts):
        what = "is too long for a file"
    elif not (path := folder.joinpath(*parts)).resolve().is_relative_to(folder.resolve()):
        what = f"leads out of {folder} over a link"
    else:
        return path
    shown = name if len(name) <= 80 else f"{name[:77]}..."
    raise error(f"the name {shown!r} {what}, so it is not used", where=where, fix="Rename the file.")


def refuse_links(folder: str | Path, *, error: type[AudiotagError]) -> None:
    """Refuse to write into a folder with links in it, which may come from anybody and lead anywhere.

    Raises:
        AudiotagError: As *error*: there is one, at any depth; *folder* itself may be one.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                raise error(
                    f"it is a link, to {path.readlink()}, and nothing is written through links in such a folder",
                    where=path,
                    fix="Name another folder; or put what the link leads to in its place, if you know it.",
                )
