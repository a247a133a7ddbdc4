"""One process of a run in shards: tags what is its own and not done yet, and keeps it part by part."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.data.clips import Clip
from audiotag.distributed.results_folder import EVERY, End, PartWriter, ResultsFolder, Run, key_of
from audiotag.distributed.shard import Shard, shared_out
from audiotag.errors import AudiotagError, OptionError
from audiotag.inference.run import Failure, InferRun, Listener, Results
from audiotag.inference.tagger import Tagger
from audiotag.inference.writers import Result

_FORMATS = ("parquet", "jsonl")


def shard_plan(settings: dict[str, Any]) -> InferRun:
    """`InferRun.plan` for a run in shards, whose parts are Parquet where pyarrow is installed, else JSON lines.

    Raises:
        OptionError: The options do not go together.
    """
    if settings["output"] is None:
        raise OptionError("shards are written into a folder", where="--shard", fix="Give --output FOLDER.")
    refused = {"--embeddings": "keep them in the folder with --with-embeddings", "--overwrite": "delete the folder"}
    for name, instead in refused.items():
        if settings[name[2:]]:
            raise OptionError(f"{name} is about one file, and shards go into a folder", fix=f"Instead, {instead}.")
    format = settings["format_"] or ("parquet" if _has_pyarrow() else "jsonl")
    if format not in _FORMATS:
        raise OptionError(
            f"shards are kept as {' or '.join(_FORMATS)}, not as {format}",
            fix="Leave out --format; `audiotag merge` writes any.",
        )
    embeddings = settings["output"] / "embeddings" if settings["with_embeddings"] else None
    return InferRun.plan({**settings, "format_": format, "resume": False, "embeddings": embeddings})


def _has_pyarrow() -> bool:
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


@dataclass(frozen=True, eq=False)
class ShardRun:
    """A shard of a run.

    Attributes:
        plan: The settings.
        folder: Where results go.
        shard: Which shard it is.
        every: Seconds from part to part at most.
        retry_failed: Whether recordings that could not be read are tried again.
    """

    plan: InferRun
    folder: ResultsFolder
    shard: Shard
    every: float = EVERY
    retry_failed: bool = False

    def run(
        self, tagger: Tagger, clips: Iterable[Clip], progress: Listener, *, not_found: Sequence[AudiotagError] = ()
    ) -> bool:
        """Tag those of *clips* that are of the shard, and not done.

        Args:
            tagger: Tags.
            clips: All clips of the list, the same for each shard; read as they are needed.
            progress: Told of what happens.
            not_found: Errors of recordings that could not even be looked for.

        Returns:
            Whether every recording could be read and nobody interrupted.

        Raises:
            AudiotagError: The folder cannot be written, or was made in another way; what was done is kept.
        """
        # Parts of both formats may be in one folder: not each machine has pyarrow.
        embed = self.plan.embeddings is not None
        made_by = {**self.plan.made_by(tagger), "format": None, "embeddings": embed}
        run = Run(made_by, tagger.sample_rate / 2, self.plan.verbatim)
        self.folder.begin(run)
        done = self.folder.done(failed=not self.retry_failed)
        writer = PartWriter(self.folder, self.shard, run, f".{self.plan.format}", tagger.name, self.every)
        progress.begin(None, 0, None)
        for error in not_found:
            progress.failed(error)
        complete = not not_found
        listed, waiting = array("q"), deque[tuple[int, int]]()
        results = Results(self.plan, tagger, writer.collector if embed else None, progress)
        stopped = False
        try:
            for outcome in results.of(self._own(clips, done, listed, waiting, progress)):
                self._keep(writer, waiting.popleft(), outcome, progress)
                if isinstance(outcome, Failure):
                    complete = False
                    if self.plan.strict:
                        stopped = True
                        break
        except KeyboardInterrupt:
            stopped = True
            progress.interrupted()
        finally:
            writer.flush()
        if not stopped:
            self.folder.end(End.of(self.shard, np.frombuffer(listed, dtype=np.int64), time.time()))
        return complete and not stopped

    @staticmethod
    def _keep(writer: PartWriter, place: tuple[int, int], outcome: Result | Failure, progress: Listener) -> None:
        if isinstance(outcome, Result):
            writer.add(*place, outcome)
            progress.done()
        else:
            assert outcome.clip is not None  # it was handed out
            writer.fail(*place, outcome.clip, outcome.error)
            progress.failed(outcome.error)

    def _own(
        self,
        clips: Iterable[Clip],
        done: NDArray[np.int64],
        listed: array[int],
        waiting: deque[tuple[int, int]],
        progress: Listener,
    ) -> Iterator[Clip]:
        """The clips of the shard that wait, noted in *waiting* when they are handed out; *listed* gets all keys."""
        for number, (index, clip) in enumerate(shared_out(clips, self.shard.count)):
            key = key_of(clip)
            listed.append(key)
            if index != self.shard.index:
                continue
            place = int(np.searchsorted(done, key))
            if place < len(done) and done[place] == key:
                progress.skipped()
                continue
            waiting.append((number, key))
            yield clip
