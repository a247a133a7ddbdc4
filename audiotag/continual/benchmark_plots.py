"""Pictures of an on-line benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiotag.continual.benchmark import OnlineBenchmark
from audiotag.drawing import drawing


def plot_benchmark(result: OnlineBenchmark, path: str | Path) -> None:
    """Average score and forgetting after each task, a line for each policy: mean and range over the seeds.

    Args:
        result: The runs.
        path: A ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OptionError: The ending is another one, or the file cannot be written.
    """
    with drawing(path) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        table = result.table()
        for place, policy in enumerate(result.policies):
            runs = table[table.policy == policy]
            for panel, column in zip(panels, ("average_score", "forgetting_from_best"), strict=True):
                grouped = runs.groupby("task")[column]
                tasks, mean = grouped.mean().index.to_numpy(), grouped.mean().to_numpy()
                panel.plot(tasks, mean, marker="o", markersize=3, color=f"C{place}", label=policy)
                panel.fill_between(tasks, grouped.min(), grouped.max(), color=f"C{place}", alpha=0.12, linewidth=0)
        panels[0].set_ylabel(f"average {result.measure}, tasks so far")
        panels[1].set_ylabel("forgetting from best")
        panels[1].set_xlabel(f"tasks learnt ({len(result.seeds)} seeds: mean and range)")
        panels[1].set_xticks(np.arange(1, result.scores.shape[-1] + 1))
        panels[0].legend(fontsize="x-small", ncols=3)
        for panel in panels:
            panel.grid(alpha=0.3)
