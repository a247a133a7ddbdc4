"""Which part of a list a process works on: as it is told, or as the batch system that started it says."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from audiotag.arguments import count_in
from audiotag.data.clips import Clip
from audiotag.errors import OptionError

_OWN = "AUDIOTAG_SHARD"
_TOGETHER = 3600.0
"""Seconds of one recording whose clips stay in one shard, so that it is opened, or fetched, by one process."""
_LEAST = 0.1
"""Seconds that a clip counts for at least: opening it takes time, too."""
_UNKNOWN = 10.0
"""Seconds that clips of unknown length count for until the length of another is known."""
LENGTH = "duration"
"""What lists call the seconds of a recording (`Clip.extra`)."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of a list.

    Attributes:
        index: From 0.
        count: How many there are.

    Raises:
        OptionError: There is no such part.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise OptionError(
                f"there is no shard {self.index} of {self.count}", fix="Shards are numbered from 0: 0/10 to 9/10."
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def of(cls, text: str, environment: Mapping[str, str] | None = None) -> Shard:
        """``"3/10"``; or ``"auto"``, what the batch system says; or ``"auto/10"``, where it numbers its tasks only.

        Raises:
            OptionError: It is none of these, or no batch system says anything.
        """
        if match := re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text):
            return cls(int(match[1]), int(match[2]))
        if match := re.fullmatch(r"auto(?:/(\d{1,9}))?", text):
            return _of_job(os.environ if environment is None else environment, int(match[1]) if match[1] else None)
        raise OptionError(f"{text!r} is no shard", fix="Give I/N, such as 0/10, or auto.")


@dataclass(frozen=True)
class _Job:
    """The variables by which a batch system numbers the tasks of a job.

    Attributes:
        index: The task's number.
        count: How many tasks there are.
        first, last, step: Numbers of the first and last task, and from one to the next.
    """

    index: str
    count: str = ""
    first: str = ""
    last: str = ""
    step: str = ""


_JOBS = (
    _Job(
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_COUNT",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_MAX",
        "SLURM_ARRAY_TASK_STEP",
    ),
    _Job("SGE_TASK_ID", "", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
    _Job("LSB_JOBINDEX", "", "1", "LSB_JOBINDEX_END", "LSB_JOBINDEX_STEP"),
    _Job("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    _Job("BATCH_TASK_INDEX", "BATCH_TASK_COUNT"),
    _Job("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
    _Job("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    _Job("PBS_ARRAY_INDEX"),
    _Job("PBS_ARRAYID"),
    _Job("JOB_COMPLETION_INDEX"),
    _Job("NOMAD_ALLOC_INDEX"),
)
"""Slurm, Grid Engine, LSF, AWS Batch, Google Cloud Batch and Cloud Run, Open MPI, PBS, Torque, Kubernetes, Nomad."""


def _of_job(environment: Mapping[str, str], count: int | None) -> Shard:
    if own := environment.get(_OWN):
        return Shard.of(own, {})

    def number(variable: str) -> int | None:
        return count_in(
            variable if variable.isdigit() else environment.get(variable, "")
        )  # Grid Engine says "undefined" where there is no array

    for job in _JOBS:
        index = number(job.index)
        if index is None or (job.first and index < (number(job.first) or 0)):  # LSF numbers from 1; 0 is no array
            continue
        total = number(job.count)
        if job.first and (last := number(job.last)) is not None:
            first, step = number(job.first) or 0, number(job.step) or 1
            index, of_range = (index - first) // step, (last - first) // step + 1
            if total not in (None, of_range):
                raise OptionError(
                    f"the {total} tasks of the array are not numbered evenly", where="--shard auto", fix="Give I/N."
                )
            total = of_range
        total = total if count is None else count
        if total is None:
            raise OptionError(
                f"{job.index} says which task this is, and nothing says how many there are",
                where="--shard auto",
                fix="Give the number: --shard auto/N.",
            )
        if index >= total:
            raise OptionError(
                f"{job.index} is {environment[job.index]}, in {total} shards",
                where="--shard auto",
                fix="Number the tasks from 0.",
            )
        return Shard(index, total)
    raise OptionError(
        "no batch system says which task this is", where="--shard auto", fix=f"Give I/N, or set {_OWN} to it."
    )


def seconds_of(clip: Clip) -> float | None:
    """Length of a clip as its list tells; None where it does not."""
    stop = clip.stop
    if stop is None:
        stop = next((_seconds(value) for name, value in clip.extra if name == LENGTH), None)
    return None if stop is None else max(stop - clip.start, 0.0)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def shared_out(clips: Iterable[Clip], count: int) -> Iterator[tuple[int, Clip]]:
    """Each of *clips* with the shard that it is of, in the order of the list and as it is read.

    A clip goes to the shard that has least sound so far. Nothing counts but the list and *count*, so that each process
    finds the same parts. Clips of one recording that follow each other stay together up to an hour; clips of unknown
    length count for the mean of the others.
    """
    loads = [(0.0, index) for index in range(count)]  # a heap: it is sorted
    known, known_clips = 0.0, 0
    before: Clip | None = None
    together = 0.0
    for clip in clips:
        seconds = seconds_of(clip)
        if seconds is None:
            seconds = known / known_clips if known_clips else _UNKNOWN
        else:
            known, known_clips = known + seconds, known_clips + 1
        seconds = max(seconds, _LEAST)
        same = before is not None and before.path == clip.path and before.member == clip.member
        if same and together + seconds <= _TOGETHER:
            together += seconds
        else:
            if before is not None:
                heapq.heapreplace(loads, (loads[0][0] + together, loads[0][1]))
            together = seconds
        before = clip
        yield loads[0][1], clip
