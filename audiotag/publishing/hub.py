"""Pushing models to the Hugging Face Hub and pulling them, through huggingface_hub.

Whom the hub knows a user as is that library's affair: its token is never read or written here.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from audiotag.documents import json_text
from audiotag.errors import AudiotagError, CheckpointError, OptionError, OutputError, needed_for
from audiotag.folders import atomic_folder, check_new_folder
from audiotag.models.facts import FACTS_FILE, find_checkpoint, read_facts
from audiotag.publishing.card import model_card
from audiotag.publishing.package import (
    CHECKSUMS_FILE,
    PAGE_FILE,
    Package,
    read_checksums,
    require_model,
    require_safe,
    require_same,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NAME = re.compile(r"hf:([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", re.ASCII)


@dataclass(frozen=True)
class HubName:
    """A model on the hub.

    Attributes:
        repository: ``OWNER/NAME``.
        revision: A branch, tag or commit; None for the newest.
    """

    repository: str
    revision: str | None = None

    @classmethod
    def read(cls, text: str) -> HubName:
        """From ``hf:OWNER/NAME`` or ``hf:OWNER/NAME@REVISION``.

        Raises:
            OptionError: It is neither.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            raise OptionError(
                f"{text!r} names no model on the hub", fix="Give hf:OWNER/NAME, or hf:OWNER/NAME@REVISION to pull one."
            )
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"hf:{self.repository}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Pushed:
    """What came of a push.

    Attributes:
        url: Address of the model's page.
        files: What it holds.
    """

    url: str
    files: tuple[str, ...]


def push(source: str | Path, name: str, *, public: bool = False, licence: str | None = None) -> Pushed:
    """Publish a run, a checkpoint or an exported folder, with a page made from it.

    All files change together, in one commit. Low-rank adapters are merged; what a training goes on from stays behind.

    Args:
        source: The folder.
        name: ``hf:OWNER/NAME``; made where it does not exist.
        public: Whether a repository that is made can be seen by all.
        licence: Of the weights, for the page (``"cc-by-4.0"``); None for that of the weights that were started from,
            where it is known.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        CheckpointError: The folder holds no model of ours.
        OptionError: It, or the repository, holds files of other formats than those that are published.
        OutputError: The hub does not take it.
    """
    target = HubName.read(name)
    if target.revision is not None:
        raise OptionError("a push makes the newest revision", where=name, fix="Leave out the @ and what follows.")
    with TemporaryDirectory() as scratch:
        package = Package.of(_without_adapters(source, Path(scratch)))
        page = model_card(source, package, target.repository, licence)
        with _talking(name):
            from huggingface_hub import CommitOperationAdd, CommitOperationDelete

            hub = _hub()
            target = HubName(hub.create_repo(target.repository, exist_ok=True, private=not public).repo_id)
            there = hub.list_repo_files(target.repository)
        require_safe(there, name)
        made = {PAGE_FILE: page, CHECKSUMS_FILE: json_text(package.checksums(), indent=2) + "\n"}
        operations: list[Any] = [CommitOperationAdd(each, text.encode()) for each, text in made.items()]
        operations += [CommitOperationAdd(each, package.folder / each) for each in package.names]
        new = {*made, *package.names}
        operations += [CommitOperationDelete(each) for each in there if each not in new and each != ".gitattributes"]
        with _talking(name):
            commit = hub.create_commit(target.repository, operations, commit_message="Model pushed by audiotag")
    return Pushed(str(commit.repo_url), tuple(sorted(new)))


def pull(name: str, output: str | Path) -> Path:
    """Fetch a model into a new folder, which appears when it is complete and checked.

    Args:
        name: ``hf:OWNER/NAME``, with ``@REVISION`` for another than the newest.
        output: The folder; it must not exist yet.

    Returns:
        *output*.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        OptionError: *output* exists, or the repository holds files of other formats than those that are fetched.
        CheckpointError: A file is not the one that was published, or the repository holds no model of ours.
        OutputError: The hub does not give it.
    """
    source, output = HubName.read(name), Path(output)
    check_new_folder(output)
    with _talking(name):
        hub = _hub()
        info = hub.model_info(source.repository, revision=source.revision)
    names = [one.rfilename for one in info.siblings or ()]
    require_safe(names, name)
    if missing := {FACTS_FILE, CHECKSUMS_FILE}.difference(names):
        raise CheckpointError(
            f"the repository holds no model that audiotag has pushed ({', '.join(sorted(missing))} is missing)",
            where=name,
            fix="Published weights of a known network: audiotag models list, and --weights FILE for a file of them.",
        )
    wanted = [one for one in names if one != ".gitattributes"]
    with atomic_folder(output) as partial, TemporaryDirectory(dir=partial) as fetched:
        for each in wanted:
            with _talking(name):
                hub.hf_hub_download(source.repository, each, revision=info.sha, local_dir=fetched)
        told = read_checksums(
            Path(fetched, CHECKSUMS_FILE), [one for one in wanted if one not in (CHECKSUMS_FILE, PAGE_FILE)]
        )
        for each, entry in told.items():
            require_same(Path(fetched, each), entry)
        for each in wanted:
            shutil.move(Path(fetched, each), partial / each)
        require_model(partial)
    return output


def _without_adapters(source: str | Path, scratch: Path) -> str | Path:
    """*source*, or a checkpoint in *scratch* into which its adapters are merged."""
    try:
        facts = read_facts(source)
    except CheckpointError:  # an exported network, or nothing of ours, which is told of elsewhere
        return source
    if "adapters" not in facts["backbone"]:
        return source
    from audiotag.models.checkpoint import load_checkpoint, save_checkpoint

    return save_checkpoint(scratch / find_checkpoint(source).name, load_checkpoint(source))


def _hub() -> HfApi:
    """The library's client of the hub at HF_ENDPOINT."""
    import huggingface_hub

    return huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="audiotag")


@contextmanager
def _talking(name: str) -> Iterator[None]:
    """A conversation with the hub about *name*: what goes wrong there is told in a line.

    Raises:
        OutputError: It fails.
    """
    with needed_for("publishing models on the hub"):
        from huggingface_hub import errors
    try:
        yield
    except AudiotagError:
        raise
    except errors.RepositoryNotFoundError as error:
        raise OutputError(
            "the hub has no such model, or shows it to others only",
            where=name,
            fix="Check the name; for a private one, log in first: hf auth login.",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise OutputError(
            "the model has no such revision", where=name, fix="Leave out the @ for the newest."
        ) from error
    except Exception as error:  # its other errors, and those of its HTTP client and of the disk
        reason = " ".join(str(error).split()) or type(error).__name__
        status = getattr(getattr(error, "response", None), "status_code", None)
        fix = "Try again; HF_HUB_OFFLINE and HF_ENDPOINT say whether and where the hub is asked."
        if status in (401, 403):
            fix = "Log in first (hf auth login), with a token that may write to that owner's models."
        raise OutputError(f"the hub does not answer as it should: {reason[:300]}", where=name, fix=fix) from error
