"""Pictures of a simulation and of an on-line benchmark.

Each takes a file that ends in ``.png``, ``.svg`` or ``.pdf``, and raises `MissingExtraError` where matplotlib is not
installed, and `OptionError` where the ending is another one or the file cannot be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.distances import shares
from audiotag.continual.metrics import average_score_after_each_task, forgetting_from_best
from audiotag.continual.simulation import Simulation
from audiotag.drawing import drawing, dress, legend_above, plain
from audiotag.errors import OptionError

if TYPE_CHECKING:
    from audiotag.continual.benchmark import OnlineBenchmark  # it needs torch, and a simulation does not

_MOST_LINES = 12
"""Classes drawn one by one; of more, those observed most and least."""


def plot_distributions(simulation: Simulation, path: str | Path) -> None:
    """Shares of the classes over time, stored and observed, a panel for each policy that keeps any, for the first seed.

    Raises:
        OptionError: No policy stored anything.
    """
    keeping = [place for place in range(len(simulation.policies)) if simulation.clips[place, 0].any()]
    if not keeping:
        raise OptionError("no policy stored anything, so there is nothing to draw", where=path)
    with drawing(path, height=1.6 + 2.4 * len(keeping)) as figure:
        panels = figure.subplots(len(keeping), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        order = np.argsort(-simulation.observed[0, -1], kind="stable")
        half = _MOST_LINES // 2
        drawn = order if len(order) <= _MOST_LINES else np.concatenate([order[:half], order[-half:]])
        observed = shares(simulation.observed[0])
        entries: dict[str, Any] = {}
        for place, panel in zip(keeping, panels, strict=True):
            stored = shares(simulation.stored[place, 0])
            for line, label in enumerate(drawn.tolist()):
                look = dress(line)
                panel.plot(simulation.steps, observed[:, label], color=look.colour, linestyle=":", linewidth=1)
                name = plain(simulation.names[label])
                entries[name] = _marked(panel, simulation.steps, stored[:, label], line, len(drawn))
            panel.set_ylabel("share of labels")
            panel.set_title(plain(simulation.policies[place]))
        legend_above(figure, entries, title="with markers: stored; thin dots: observed")
        panels[-1].set_xlabel("clips offered")


def plot_measures(simulation: Simulation, path: str | Path) -> None:
    """Classes retained and distances over time, a line for each policy: mean and range over the seeds."""
    measures = {name: values for name, values in simulation.measures().items() if name != "clips"}
    with drawing(path, height=1 + 2.4 * len(measures)) as figure:
        panels = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
        entries: dict[str, Any] = {}
        for panel, (name, values) in zip(panels, measures.items(), strict=True):
            entries |= _lines(panel, simulation.steps, dict(zip(simulation.policies, values, strict=True)))
            panel.set_ylabel(name.replace("_", " ").replace("kl ", "KL "))
            panel.set_ylim(bottom=-0.03 * panel.get_ylim()[1])  # what lies on 0 is seen whole
        legend_above(figure, entries)
        panels[-1].set_xlabel(f"clips offered ({_over(simulation.seeds)})")


def plot_benchmark(result: OnlineBenchmark, path: str | Path) -> None:
    """Average score and forgetting after each task, a line for each policy: mean and range over the seeds."""
    tasks = np.arange(1, result.scores.shape[-1] + 1)
    with drawing(path) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        entries: dict[str, Any] = {}
        for panel, measure in zip(panels, (average_score_after_each_task, forgetting_from_best), strict=True):
            values = [np.stack([measure(matrix) for matrix in runs]) for runs in result.scores]
            entries |= _lines(panel, tasks, dict(zip(result.policies, values, strict=True)))
        panels[0].set_ylabel(f"average {result.measure}, tasks so far")
        panels[1].set_ylabel("forgetting from best")
        panels[1].set_xlabel(f"tasks learnt ({_over(result.seeds)})")
        panels[1].set_xticks(tasks)
        legend_above(figure, entries)


def _over(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seeds: mean and range" if len(seeds) > 1 else "one seed"


def _lines(panel: Any, steps: NDArray[np.int64], runs: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """A line for the values (seeds, steps) of each policy: their mean, and their range as an area.

    Returns:
        Policy → its line.
    """
    drawn = {}
    for place, (policy, values) in enumerate(runs.items()):
        if not np.isnan(values).all():
            look = dress(place)
            drawn[plain(policy)] = _marked(panel, steps, values.mean(axis=0), place, len(runs))
            low, high = values.min(axis=0), values.max(axis=0)
            panel.fill_between(steps, low, high, color=look.colour, alpha=0.12, linewidth=0)
    return drawn


def _marked(panel: Any, steps: NDArray[np.int64], values: NDArray[np.float64], place: int, places: int) -> Any:
    """A line with about eight markers, which stand beside those of the lines at other places."""
    look = dress(place)
    every = max(1, len(steps) // 8)
    first = place * every // places
    (line,) = panel.plot(
        steps,
        values,
        color=look.colour,
        linestyle=look.pattern,
        linewidth=look.width,
        marker=look.marker,
        markersize=2.2 * look.width,
        markevery=(first, every),
    )
    return line
