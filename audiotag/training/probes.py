"""What embeddings are worth: small classifiers on top of them, for tasks in HEAR's layout."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audiotag.csv_text import frame_csv
from audiotag.documents import json_text
from audiotag.errors import TrainingError
from audiotag.evaluation.metrics import accuracy, d_prime_of_mean_auc, mean_average_precision, mean_roc_auc, roc_auc
from audiotag.files import write_text
from audiotag.folders import claim_folder
from audiotag.inference.tagger import Tagger
from audiotag.seeding import scoped_torch_rng, torch_generator
from audiotag.training.hear_tasks import HearTask, Part, read_tasks
from audiotag.training.reporting import Reporter

Floats = NDArray[np.float32]

PROBES = {"linear": 0, "mlp": 1}
"""Probe → hidden layers of 1024 units."""

_HIDDEN, _DROPOUT = 1024, 0.1
_RATES = (1e-2, 3.2e-3, 1e-3, 3.2e-4)
_EPOCHS, _PATIENCE, _CHECKED_EVERY, _BATCH = 500, 20, 3, 1024

_METRICS = {
    "accuracy": accuracy,
    "mAP": mean_average_precision,
    "mAUC": mean_roc_auc,
    "d_prime_of_mean_auc": lambda targets, scores: d_prime_of_mean_auc(roc_auc(targets, scores)),
}


class Examples(NamedTuple):
    """Embeddings with their classes.

    Attributes:
        embeddings: float32 (clips, dim).
        targets: bool (clips, classes).
    """

    embeddings: Floats
    targets: NDArray[np.bool_]


@dataclass(frozen=True)
class ProbeSettings:
    """How a probe learns.

    Attributes:
        hidden_layers: Layers of 1024 units with batch norm, dropout and ReLU before the last one.
        single_label: Cross-entropy, or binary cross-entropy.
        metric: What chooses the best epoch and rate, of `HearTask.metric`.
        seed: Of parameters, order and dropout.
    """

    hidden_layers: int
    single_label: bool
    metric: str
    seed: int = 0

    def score(self, targets: NDArray[np.bool_], logits: Floats) -> float:
        """The metric of *logits*."""
        return float(_METRICS[self.metric](targets, logits))


def probe_score(train: Examples, valid: Examples, test: Examples, settings: ProbeSettings) -> float:
    """The score on *test* of the probe that is best on *valid*, over learning rates and epochs.

    Embeddings are brought to mean 0 and deviation 1 over *train*.

    Raises:
        TrainingError: No rate gives a score on *valid* (no clip of its classes, or numbers that are not finite).
    """
    mean, spread = train.embeddings.mean(0), train.embeddings.std(0) + 1e-6
    train, valid, test = (one._replace(embeddings=(one.embeddings - mean) / spread) for one in (train, valid, test))
    found = [_fit(train, valid, settings, rate) for rate in _RATES]
    best, probe = max(found, key=lambda one: one[0])
    if best == -np.inf:
        raise TrainingError("a probe has no score on the clips that it is chosen on", fix="Check the task's labels.")
    return settings.score(test.targets, _logits(probe, test))


def _fit(train: Examples, valid: Examples, settings: ProbeSettings, rate: float) -> tuple[float, nn.Module]:
    """The best score on *valid*, −∞ where there is none, and the probe that has it."""
    given = torch.from_numpy(train.embeddings)
    targets = torch.from_numpy(train.targets).float()
    loss = nn.CrossEntropyLoss() if settings.single_label else nn.BCEWithLogitsLoss()
    generator = torch_generator(settings.seed, "order")
    with scoped_torch_rng(settings.seed, "probe"):
        probe = _make(given.shape[1], targets.shape[1], settings.hidden_layers)
        optimiser = torch.optim.Adam(probe.parameters(), rate)
        best, kept, waited = -np.inf, probe, 0
        for epoch in range(1, _EPOCHS + 1):
            probe.train()
            for rows in torch.split(torch.randperm(len(given), generator=generator), _BATCH):
                if len(rows) == 1 and settings.hidden_layers:
                    continue  # a batch norm takes more
                optimiser.zero_grad()
                loss(probe(given[rows]), targets[rows]).backward()
                optimiser.step()
            if epoch % _CHECKED_EVERY:
                continue
            score = settings.score(valid.targets, _logits(probe, valid))
            if score > best:
                best, kept, waited = score, copy.deepcopy(probe), 0
            elif (waited := waited + 1) == _PATIENCE:
                break
    return best, kept


def _make(dim: int, classes: int, hidden_layers: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(hidden_layers):
        layers += [nn.Linear(dim, _HIDDEN), nn.BatchNorm1d(_HIDDEN), nn.Dropout(_DROPOUT), nn.ReLU()]
        dim = _HIDDEN
    network = nn.Sequential(*layers, nn.Linear(dim, classes))
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    return network


def _logits(probe: nn.Module, examples: Examples) -> Floats:
    probe.eval()
    with torch.inference_mode():
        logits: Tensor = probe(torch.from_numpy(examples.embeddings))
    return logits.numpy()


def compare_on_hear(
    models: dict[str, Tagger], tasks: str | Path, output: str | Path, *, seed: int = 0, reporter: Reporter | None = None
) -> pd.DataFrame:
    """Measure the clip embeddings of several models on tasks in HEAR's layout.

    Tasks of events are left out, with a word to *reporter*.

    Args:
        models: What tables call it → the model.
        tasks: A task, or a folder of several.
        output: Folder for ``hear.csv`` and ``hear.json``.
        seed: Of the probes.
        reporter: Told of everything.

    Returns:
        A row for each task, model and probe: ``task, metric, model, probe, score, score_std, folds``.

    Raises:
        ManifestError: A task cannot be read.
        AudioError: A recording cannot be read.
    """
    reporter = reporter or Reporter()
    found, others = read_tasks(tasks)
    if others:
        reporter.message(f"Left out, since they are of events and not of clips: {', '.join(others)}.")
    claim_folder(output, "compare")
    rows: list[dict[str, Any]] = []
    for task in found:
        for name, tagger in models.items():
            rows += _rows(task, name, tagger, seed, reporter)
            table = pd.DataFrame(rows)
            write_text(Path(output) / "hear.csv", frame_csv(table))
            write_text(Path(output) / "hear.json", json_text(rows, indent=2) + "\n")
    return table


def _rows(task: HearTask, name: str, tagger: Tagger, seed: int, reporter: Reporter) -> list[dict[str, Any]]:
    examples = {}
    done, total = 0, sum(len(part.names) for part in task.parts.values())
    for part, recordings in task.parts.items():
        reporter.computing(f"embeddings of {task.name} by {name}", done, total)
        examples[part] = _embedded(tagger, task.recordings(part, tagger.sample_rate), recordings)
        done += len(recordings.names)
    rows = []
    for probe, hidden in PROBES.items():
        settings = ProbeSettings(hidden, task.single_label, task.metric, seed)
        scores = []
        for split in task.splits():
            train = Examples(
                *(np.concatenate(parts) for parts in zip(*(examples[one] for one in split.train), strict=True))
            )
            scores.append(probe_score(train, examples[split.valid], examples[split.test], settings))
        row = {"task": task.name, "metric": task.metric, "model": name, "probe": probe, "score": float(np.mean(scores))}
        rows.append({**row, "score_std": float(np.std(scores)) if len(scores) > 1 else None, "folds": len(scores)})
    return rows


def _embedded(tagger: Tagger, paths: Sequence[Path], part: Part) -> Examples:
    embeddings = []
    for result in tagger.tag_files(paths, top=1, embeddings=True):
        result.unwrap()
        assert result.embedding is not None  # it was asked for
        embeddings.append(result.embedding)
    return Examples(np.stack(embeddings), part.targets)
