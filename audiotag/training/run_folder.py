"""The folder of a run: who writes to it, and what has begun in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audiotag import places
from audiotag.documents import Fields, read_fields
from audiotag.errors import TrainingError
from audiotag.files import check_place, lock, remove_abandoned
from audiotag.folders import current_folder
from audiotag.models.facts import FACTS_FILE

RUN_FILE = "run.json"
DATA_FILE = "data.json"
SETTINGS_FILE = "settings.toml"

_FILES = r"(run\.json|data\.json|settings\.toml|log\.csv|base\.safetensors)"
_FOLDERS = r"(best|best_loss|last|averaged|ema|epochs)"
_OF_A_RUN = re.compile(rf"{_FILES}|{_FOLDERS}|tensorboard|wandb|\.{_FILES}\..*\.audiotag-part|\.{_FOLDERS}\.audiotag")
"""What there may be in a run's folder before its first state is saved."""

_held: set[int] = set()


def read_run_record(folder: Path) -> Fields:
    """What `TrainingRun.save` has written of its data into the folder of a run.

    Raises:
        TrainingError: The file is missing or damaged.
    """
    path = folder / DATA_FILE
    fix = "Start a new run in another folder."
    record = read_fields(path, error=TrainingError, fix=fix)
    record.texts("train")
    record.texts("val", None)
    return record


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """*folder*, made where it does not exist, for this process alone; what was made is removed again if it stays empty.

    The lock is on the folder itself, leaves no file, and ends with the process, however that ends. Where there are no
    such locks (Windows, some network file systems) nothing is locked.

    Raises:
        OutputError: Nothing can be written there.
        TrainingError: Another process trains in it, or it cannot be made.
    """
    check_place(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    handle: int | None = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"the run folder cannot be made: {error.strerror or error}",
                where=folder,
                fix="Choose another --output.",
            ) from error
        handle = _lock(folder)
        yield
    finally:
        if handle is not None:
            _held.discard(handle)
            os.close(handle)
        for path in made:
            try:
                path.rmdir()
            except OSError:  # there is something in it, as there should be
                break


def _lock(folder: Path) -> int | None:
    if places.WINDOWS:
        return None
    handle = os.open(folder, os.O_RDONLY)
    if lock(handle, wait=False) is False:
        os.close(handle)
        raise TrainingError(
            "another process is training in this folder",
            where=folder,
            fix="Wait until it is done, or choose another --output.",
        )
    _held.add(handle)
    return handle


def _leave_to_parent() -> None:
    """A worker that outlives a killed run for a moment must not keep its folder locked."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def begun(folder: Path) -> bool:
    """Whether a run has begun in *folder*, even if it has saved no state yet."""
    return any((folder / name).is_file() for name in (RUN_FILE, DATA_FILE, SETTINGS_FILE))


def has_state(folder: Path) -> bool:
    """Whether the run in *folder* has saved a state to go on from; otherwise it begins anew."""
    return (current_folder(folder / "last") / FACTS_FILE).is_file()


def require_usable(folder: Path, *, resume: bool) -> None:
    """Refuse a folder that holds no run to go on with, or something that a new run would mix with.

    Raises:
        TrainingError: It does.
    """
    if resume:
        if not begun(folder) and not has_state(folder):
            raise TrainingError(
                "there is no run to resume", where=folder, fix=f"Give the folder of a run; it holds {RUN_FILE}."
            )
        strange = sorted(one.name for one in folder.iterdir() if not _OF_A_RUN.fullmatch(one.name))
        if strange and not has_state(folder):  # it begins anew, over what is there
            raise TrainingError(
                f"the folder holds something that no run has written ({', '.join(strange[:5])})",
                where=folder,
                fix="Move it away, or choose another --output.",
            )
        return
    remove_abandoned(folder)
    if any(folder.iterdir()):
        go_on = f", or resume it with: audiotag finetune --resume {folder}" if begun(folder) else ""
        raise TrainingError("the run folder is not empty", where=folder, fix=f"Choose another --output{go_on}.")
