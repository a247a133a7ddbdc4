"""Which part of a list a process works on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotag.data.clips import Clip
from audiotag.distributed.shard import Shard, seconds_of, shared_out
from audiotag.errors import OptionError

SLURM = {"SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_MAX": "14", "SLURM_ARRAY_TASK_COUNT": "10"}
SGE = {"SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "9", "SGE_TASK_STEPSIZE": "4"}


@pytest.mark.parametrize(
    ("environment", "text", "expected"),
    [
        ({}, "3/10", (3, 10)),
        ({"SLURM_ARRAY_TASK_ID": "7"}, "3/10", (3, 10)),
        ({"AUDIOTAG_SHARD": "2/4", "SLURM_ARRAY_TASK_ID": "7"}, "auto", (2, 4)),
        ({**SLURM, "SLURM_ARRAY_TASK_ID": "7"}, "auto", (2, 10)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "20",
                "SLURM_ARRAY_TASK_MIN": "0",
                "SLURM_ARRAY_TASK_MAX": "30",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_STEP": "10",
            },
            "auto",
            (2, 4),
        ),
        ({**SGE, "SGE_TASK_ID": "9"}, "auto", (2, 3)),
        ({"LSB_JOBINDEX": "1", "LSB_JOBINDEX_END": "8", "LSB_JOBINDEX_STEP": "1"}, "auto", (0, 8)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "100"}, "auto", (0, 100)),
        ({"BATCH_TASK_INDEX": "4", "BATCH_TASK_COUNT": "5"}, "auto", (4, 5)),
        ({"CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_COUNT": "2"}, "auto", (1, 2)),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}, "auto", (3, 4)),
        ({"PBS_ARRAY_INDEX": "3"}, "auto/7", (3, 7)),
        ({"PBS_ARRAYID": "6"}, "auto/7", (6, 7)),
        ({"JOB_COMPLETION_INDEX": "0"}, "auto/7", (0, 7)),
        ({"NOMAD_ALLOC_INDEX": "2"}, "auto/7", (2, 7)),
        # Grid Engine and LSF set their variables in jobs that are no arrays, too.
        ({"SGE_TASK_ID": "undefined", "SGE_TASK_LAST": "undefined", "PBS_ARRAY_INDEX": "1"}, "auto/2", (1, 2)),
        ({"LSB_JOBINDEX": "0", "LSB_JOBINDEX_END": "0", "PBS_ARRAY_INDEX": "1"}, "auto/2", (1, 2)),
    ],
)
def test_the_shard_is_what_is_said_or_what_the_batch_system_says(
    environment: dict[str, str], text: str, expected: tuple[int, int]
) -> None:
    assert Shard.of(text, environment) == Shard(*expected)


@pytest.mark.parametrize(
    ("environment", "text", "message"),
    [
        ({}, "auto", "no batch system"),
        ({}, "10/10", "no shard 10 of 10"),
        ({}, "3", "is no shard"),
        ({}, "a/b", "is no shard"),
        ({}, "0/0", "no shard 0 of 0"),
        ({"PBS_ARRAY_INDEX": "3"}, "auto", "nothing says how many"),
        ({"PBS_ARRAY_INDEX": "7"}, "auto/7", "in 7 shards"),
        # --array=1,5,9: the numbers do not tell which of three a task is.
        (
            {
                "SLURM_ARRAY_TASK_ID": "5",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_MAX": "9",
                "SLURM_ARRAY_TASK_COUNT": "3",
            },
            "auto",
            "not numbered evenly",
        ),
    ],
)
def test_what_is_no_shard_is_refused(environment: dict[str, str], text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Shard.of(text, environment)


def clip(number: int, seconds: float | None, *, recording: int | None = None) -> Clip:
    extra = () if seconds is None else (("duration", repr(seconds)),)
    return Clip(f"c{number}", Path(f"{number if recording is None else recording}.wav"), extra=extra)


LENGTHS = st.lists(st.none() | st.floats(0.0, 5000.0), max_size=60)


@given(LENGTHS, st.integers(1, 7))
def test_each_clip_is_in_one_shard_whoever_asks(lengths: list[float | None], count: int) -> None:
    clips = [clip(number, seconds) for number, seconds in enumerate(lengths)]
    found = list(shared_out(iter(clips), count))
    assert [one for _, one in found] == clips
    assert all(0 <= index < count for index, _ in found)
    assert found == list(shared_out(clips, count))


@given(st.lists(st.floats(1.0, 4000.0), min_size=1, max_size=80), st.integers(1, 7))
def test_shards_differ_by_no_more_than_the_longest_clip(lengths: list[float], count: int) -> None:
    loads = [0.0] * count
    for index, one in shared_out([clip(number, seconds) for number, seconds in enumerate(lengths)], count):
        loads[index] += seconds_of(one) or 0.0
    assert max(loads) - min(loads) <= max(lengths) + 1e-6


def test_clips_of_unknown_length_are_dealt_out_evenly() -> None:
    counts = [0] * 4
    for index, _ in shared_out((clip(number, None) for number in range(40)), 4):
        counts[index] += 1
    assert counts == [10] * 4
    known_first = [clip(0, 1000.0), *(clip(number, None) for number in range(1, 9))]
    counts = [0] * 3
    for index, _ in shared_out(known_first, 3):
        counts[index] += 1
    assert counts == [3] * 3  # they count for the mean, 1000 s


def test_clips_of_a_recording_stay_together_up_to_an_hour() -> None:
    pieces = [
        Clip(f"{begin}", Path("long.wav"), start=float(begin), stop=begin + 600.0) for begin in range(0, 6000, 600)
    ]
    found = [index for index, _ in shared_out(pieces, 2)]
    assert found == [0] * 6 + [1] * 4


def test_length_is_that_of_the_part() -> None:
    assert seconds_of(Clip("a", Path("a.wav"))) is None
    assert seconds_of(Clip("a", Path("a.wav"), start=2.0, stop=5.0)) == 3.0
    assert seconds_of(Clip("a", Path("a.wav"), start=2.0, extra=(("duration", "10"),))) == 8.0
    assert seconds_of(Clip("a", Path("a.wav"), extra=(("duration", "long"),))) is None
