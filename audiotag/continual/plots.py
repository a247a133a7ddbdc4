"""Pictures of a simulation and of an on-line benchmark.

Each takes a file that ends in ``.png``, ``.svg`` or ``.pdf``, and raises `MissingExtraError` where matplotlib is not
installed, and `OptionError` where the ending is another one or the file cannot be written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiotag.continual.distances import shares
from audiotag.continual.metrics import average_score_after_each_task, forgetting_from_best
from audiotag.continual.simulation import Simulation
from audiotag.drawing import drawing
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
    with drawing(path, height=1 + 2.4 * len(keeping)) as figure:
        panels = figure.subplots(len(keeping), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        order = np.argsort(-simulation.observed[0, -1], kind="stable")
        half = _MOST_LINES // 2
        drawn = order if len(order) <= _MOST_LINES else np.concatenate([order[:half], order[-half:]])
        observed = shares(simulation.observed[0])
        for place, panel in zip(keeping, panels, strict=True):
            stored = shares(simulation.stored[place, 0])
            for line, label in enumerate(drawn.tolist()):
                colour = f"C{line % 10}"
                panel.plot(simulation.steps, stored[:, label], color=colour, label=simulation.names[label])
                panel.plot(simulation.steps, observed[:, label], color=colour, linestyle="--", linewidth=0.8)
            panel.set_title(simulation.policies[place], loc="left", fontsize="medium")
            panel.set_ylabel("share of labels")
            panel.grid(alpha=0.3)
        panels[0].legend(fontsize="x-small", ncols=4, title="solid: stored, dashed: observed", title_fontsize="x-small")
        panels[-1].set_xlabel("clips offered")


def plot_measures(simulation: Simulation, path: str | Path) -> None:
    """Classes retained and distances over time, a line for each policy: mean and range over the seeds."""
    measures = {name: values for name, values in simulation.measures().items() if name != "clips"}
    with drawing(path, height=1 + 2.4 * len(measures)) as figure:
        panels = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
        for panel, (name, values) in zip(panels, measures.items(), strict=True):
            _lines(panel, simulation.steps, dict(zip(simulation.policies, values, strict=True)))
            panel.set_ylabel(name.replace("_", " "), fontsize="small")
            panel.set_ylim(bottom=0)
        panels[0].legend(fontsize="x-small", ncols=3)
        panels[-1].set_xlabel(f"clips offered ({len(simulation.seeds)} seeds: mean and range)")


def plot_benchmark(result: OnlineBenchmark, path: str | Path) -> None:
    """Average score and forgetting after each task, a line for each policy: mean and range over the seeds."""
    tasks = np.arange(1, result.scores.shape[-1] + 1)
    with drawing(path) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for panel, measure in zip(panels, (average_score_after_each_task, forgetting_from_best), strict=True):
            values = [np.stack([measure(matrix) for matrix in runs]) for runs in result.scores]
            _lines(panel, tasks, dict(zip(result.policies, values, strict=True)), marker="o", markersize=3)
        panels[0].set_ylabel(f"average {result.measure}, tasks so far")
        panels[1].set_ylabel("forgetting from best")
        panels[1].set_xlabel(f"tasks learnt ({len(result.seeds)} seeds: mean and range)")
        panels[1].set_xticks(tasks)
        panels[0].legend(fontsize="x-small", ncols=3)


def _lines(panel: Any, steps: NDArray[np.int64], runs: dict[str, NDArray[np.float64]], **style: Any) -> None:
    """A line for the values (seeds, steps) of each policy: their mean, and their range as an area."""
    for place, (policy, values) in enumerate(runs.items()):
        if not np.isnan(values).all():
            panel.plot(steps, values.mean(axis=0), color=f"C{place}", label=policy, **style)
            low, high = values.min(axis=0), values.max(axis=0)
            panel.fill_between(steps, low, high, color=f"C{place}", alpha=0.15, linewidth=0)
    panel.grid(alpha=0.3)
