"""Pictures of a simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiotag.continual.distances import shares
from audiotag.continual.simulation import Simulation
from audiotag.drawing import drawing
from audiotag.errors import OptionError

_MOST_LINES = 12
"""Classes drawn one by one; of more, those observed most and least."""


def plot_distributions(simulation: Simulation, path: str | Path) -> None:
    """Shares of the classes over time, stored and observed, a panel for each policy that keeps any, for the first seed.

    Args:
        simulation: The runs.
        path: A ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OptionError: The ending is another one, no policy stored anything, or the file cannot be written.
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
    """Classes retained and distances over time, a line for each policy: mean and range over the seeds.

    Args:
        simulation: The runs.
        path: A ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OptionError: The ending is another one, or the file cannot be written.
    """
    measures = {name: values for name, values in simulation.measures().items() if name != "clips"}
    with drawing(path, height=1 + 2.4 * len(measures)) as figure:
        panels = figure.subplots(len(measures), 1, sharex=True, squeeze=False)[:, 0]
        for panel, (name, values) in zip(panels, measures.items(), strict=True):
            for place, policy in enumerate(simulation.policies):
                runs = values[place]
                if np.isnan(runs).all():
                    continue
                panel.plot(simulation.steps, runs.mean(axis=0), color=f"C{place}", label=policy)
                panel.fill_between(
                    simulation.steps, runs.min(axis=0), runs.max(axis=0), color=f"C{place}", alpha=0.15, linewidth=0
                )
            panel.set_ylabel(name.replace("_", " "), fontsize="small")
            panel.set_ylim(bottom=0)
            panel.grid(alpha=0.3)
        panels[0].legend(fontsize="x-small", ncols=3)
        panels[-1].set_xlabel(f"clips offered ({len(simulation.seeds)} seeds: mean and range)")
