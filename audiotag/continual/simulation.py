"""Policies side by side on the same streams: what each would have kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.create import build_policy, check_policy_options
from audiotag.continual.distances import classes_retained, kl_stored_from_observed, total_variation
from audiotag.continual.policy import Example
from audiotag.continual.streams import Stream, drifting_stream, published_stream, zipf_stream
from audiotag.csv_text import csv_text
from audiotag.errors import OptionError
from audiotag.files import atomic_path

StreamMaker = Callable[[np.random.Generator], Stream]


@dataclass(frozen=True)
class Contender:
    """A policy with its settings, under the name that tables and plots show."""

    policy: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_policy_options(self.policy, self.options)

    @property
    def name(self) -> str:
        """The policy, and its settings where it has some."""
        settings = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.policy}({settings})" if settings else self.policy


ALL_CONTENDERS = tuple(
    Contender(name) for name in ("reservoir", "class_balanced", "partitioning", "distribution_matching", "fifo", "none")
)


@dataclass(frozen=True)
class Preset:
    """A simulation that is ready to run.

    Attributes:
        summary: One line for ``--help``.
        stream: Makes the stream from a generator.
        capacity: Places in the store.
        contenders: The policies.
    """

    summary: str
    stream: StreamMaker
    capacity: int
    contenders: tuple[Contender, ...] = ALL_CONTENDERS


_MATCHING = Contender("distribution_matching", {"replace_prob": 0.7})
_OTHERS = tuple(contender for contender in ALL_CONTENDERS if contender.policy != "distribution_matching")

PRESETS: Mapping[str, Preset] = {
    "published": Preset(
        "the home system's example: 5 classes, 50 places, 100 steps, replace 0.7",
        lambda generator: published_stream(100, generator),
        50,
        (_MATCHING, *_OTHERS),
    ),
    "rare": Preset(
        "21 classes by Zipf 1.5, 5000 steps, 50 places: who keeps the rare ones?",
        lambda generator: zipf_stream(21, 5000, generator, exponent=1.5),
        50,
        (_MATCHING, *_OTHERS),
    ),
    "drift": Preset(
        "10 classes whose ranking turns round within 5000 steps, 100 places",
        lambda generator: drifting_stream(10, 5000, generator, exponent=1.5),
        100,
        (_MATCHING, *_OTHERS),
    ),
}


@dataclass(frozen=True)
class Simulation:
    """What the stores held over time.

    Attributes:
        policies: Names of the contenders.
        names: Names of the classes.
        seeds: Seeds of the runs.
        steps: int64 (points,), after how many clips of the stream the counts were taken.
        observed: int64 (seeds, points, classes), label occurrences observed so far.
        stored: int64 (policies, seeds, points, classes), stored clips that carry each class.
        clips: int64 (policies, seeds, points), stored clips.
    """

    policies: tuple[str, ...]
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: NDArray[np.int64]
    observed: NDArray[np.int64]
    stored: NDArray[np.int64]
    clips: NDArray[np.int64]

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Each measure of `MEASURES`, float64 (policies, seeds, points); distances of an empty store are NaN."""
        seen = np.where(self.observed > 0, 1, 0)
        return {
            "clips": self.clips.astype(np.float64),
            "classes_retained": classes_retained(self.stored).astype(np.float64),
            "total_variation_from_observed": total_variation(self.stored, self.observed),
            "kl_stored_from_observed": kl_stored_from_observed(self.stored, self.observed),
            "total_variation_from_uniform": total_variation(self.stored, seen),
        }

    def summary(self) -> list[dict[str, Any]]:
        """For each policy the mean and standard deviation over the seeds of each measure at the end.

        None stands for a distance of an empty store.
        """
        rows = []
        measures = self.measures()
        for place, policy in enumerate(self.policies):
            row: dict[str, Any] = {"policy": policy}
            for name, values in measures.items():
                last = values[place, :, -1]
                defined = not np.isnan(last).any()
                row[name] = float(last.mean()) if defined else None
                row[f"{name}_std"] = float(last.std()) if defined else None
            rows.append(row)
        return rows

    def write_measures(self, path: str | Path) -> None:
        """A CSV with a line for each policy, seed and point in time: policy, seed, step and `MEASURES`."""
        measures = self.measures()

        def lines() -> Iterator[list[Any]]:
            for at, key in self._points():
                values = (values[at] for values in measures.values())
                yield [*key, *("" if np.isnan(value) else f"{value:.6g}" for value in values)]

        _write_csv(Path(path), ["policy", "seed", "step", *MEASURES], lines())

    def _points(self) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...]]]:
        """The place of each point in the arrays, and its policy, seed and step."""
        keys = product(self.policies, self.seeds, self.steps)
        return zip(np.ndindex(self.clips.shape), keys, strict=True)

    def write_counts(self, path: str | Path) -> None:
        """A CSV with a line for each policy, seed, point in time and class: the counts observed and stored."""

        def lines() -> Iterator[list[Any]]:
            for at, key in self._points():
                for name, seen, kept in zip(self.names, self.observed[at[1:]], self.stored[at], strict=True):
                    yield [*key, name, seen, kept]

        _write_csv(Path(path), ["policy", "seed", "step", "class", "observed", "stored"], lines())


MEASURES = (
    "clips",
    "classes_retained",
    "total_variation_from_observed",
    "kl_stored_from_observed",
    "total_variation_from_uniform",
)
"""Stored clips; classes with a stored clip; distances of the store from what was observed (see
`audiotag.continual.distances`); and from equal shares of all classes observed."""


def simulate(
    stream: StreamMaker,
    contenders: Sequence[Contender],
    capacity: int,
    *,
    seeds: Sequence[int] = (0,),
    points: int = 50,
) -> Simulation:
    """Offer the same streams to several policies.

    Args:
        stream: Makes a stream from a generator; called once for each seed, all of one length and class list.
        contenders: The policies; each starts afresh for each seed.
        capacity: Places in each store.
        seeds: Seeds of streams and policies.
        points: At most so many points in time are recorded, evenly spaced, the last one included.

    Raises:
        OptionError: There is no policy, seed or point; two contenders are the same; or the streams differ in length or
            classes; or a policy decides by what a model hears.
        UnknownNameError: There is no such policy.
    """
    names = tuple(contender.name for contender in contenders)
    if not names or len(set(names)) < len(names) or not seeds or points < 1:
        raise OptionError("a simulation needs different policies, a seed and a point in time", where="simulation")
    streams = [stream(np.random.default_rng([seed, 1])) for seed in seeds]
    classes, length = streams[0].names, len(streams[0])
    if not length or any(len(each) != length or each.names != classes for each in streams):
        raise OptionError("the streams are empty, or differ in length or classes", where="simulation")
    steps = np.unique(np.linspace(1, length, min(points, length)).round().astype(np.int64))
    observed = np.zeros((len(seeds), len(steps), len(classes)), dtype=np.int64)
    stored = np.zeros((len(names), *observed.shape), dtype=np.int64)
    clips = np.zeros(stored.shape[:3], dtype=np.int64)
    for run, (seed, heard) in enumerate(zip(seeds, streams, strict=True)):
        for place, contender in enumerate(contenders):
            for point, (seen, kept, number) in enumerate(_run(contender, capacity, heard, seed, steps)):
                observed[run, point] = seen
                stored[place, run, point] = kept
                clips[place, run, point] = number
    return Simulation(names, classes, tuple(seeds), steps, observed, stored, clips)


def _run(
    contender: Contender, capacity: int, stream: Stream, seed: int, steps: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    policy = build_policy(contender.policy, capacity, len(stream.names), contender.options, seed=seed)
    if policy.needs:
        raise OptionError(
            f"it needs outputs of a model ({', '.join(sorted(policy.needs))}), and a simulation has labels only",
            where=contender.name,
            fix="Compare it by `audiotag online benchmark`.",
        )
    if stream.observed_before is not None:
        for label, count in enumerate(stream.observed_before.tolist()):
            policy.observe((label,), count)
    for number, labels in enumerate(stream.stored_before):
        policy.offer(Example(f"before {number}", labels), observe=False)
    wanted = set(steps.tolist())
    for number, labels in enumerate(stream.labels, start=1):
        policy.offer(Example(str(number), labels))
        if number in wanted:
            yield policy.observed, policy.counts, len(policy)


def _write_csv(path: Path, header: Sequence[str], lines: Iterator[list[Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        file.writelines(csv_text([line]) for line in chain([header], lines))
