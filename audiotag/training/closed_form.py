"""A head in closed form: the clips go through the frozen network once, and no step is taken."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiotag.data.heard import CHOSEN_ON
from audiotag.errors import TrainingError
from audiotag.models.analytic import AnalyticLearner
from audiotag.models.checkpoint import snapshot
from audiotag.models.embedding_head import set_linear_head
from audiotag.models.fingerprints import embedding_fingerprint
from audiotag.printing import few
from audiotag.training.reporting import CsvLog, EpochLogger
from audiotag.training.run import TrainingRun
from audiotag.training.sources import HeadSource

_PART = 1024


def fit_head(run: TrainingRun, loggers: Iterable[EpochLogger] = ()) -> dict[str, Any]:
    """Give the model of *run* the head that its training clips decide, and write ``best`` and ``last``.

    What the `AnalyticLearner` knows stands beside the head, so that ``audiotag online`` goes on from there.

    Returns:
        The one row of the log.

    Raises:
        TrainingError: Labels of some clips are not known, or a clip has no embedding.
    """
    started, clips = time.monotonic(), run.clips.train
    if clips.sparse_unknown() is not None:
        raise TrainingError(
            "a head in closed form needs to know every label of each clip",
            where=clips.source,
            fix="Leave out the clips with unknown labels, or train with --head=gradient.",
        )
    with run.learned:
        source = HeadSource(run)
        learner = _learnt(run, source.train_inputs.numpy())
        weight, bias = learner.linear()
        set_linear_head(run.model, weight.astype(np.float32), bias.astype(np.float32))
        row: dict[str, Any] = {"epoch": 1, "penalty": learner.chosen_penalty()}
        row |= {f"val_{name}": value for name, value in source.validate().items()}
        run.learned.finish()
    row["seconds"] = round(time.monotonic() - started, 3)
    metrics = {key: value for key, value in row.items() if key != "seconds"}
    kept = {key: value for key, value in run.model.metadata.items() if key != CHOSEN_ON}  # the clips had no say
    made = snapshot(replace(run.model, metadata={**kept, "metrics": metrics}))
    CsvLog(run.folder / "log.csv").write([row])
    for name in ("best", "last"):
        made.write(run.folder / name, {"progress": {"history": [row]}} if name == "last" else None, learner)
    for logger in loggers:
        logger.log(row)
        logger.close()
    run.reporter.epoch(row, best=True)
    run.reporter.finish()
    return row


def _learnt(run: TrainingRun, embeddings: NDArray[np.float32]) -> AnalyticLearner:
    clips, model = run.clips.train, run.model
    nothing = np.flatnonzero(~embeddings.any(axis=1))
    if len(nothing):
        named = few([clips.columns.ids[index] for index in nothing], 5)
        raise TrainingError(
            f"{len(nothing)} clips have an embedding of zeros: {named}",
            where=clips.source,
            fix="Leave them out; they may be silent.",
        )
    learner = AnalyticLearner(
        model.labels, embeddings.shape[1], single_label=model.single_label, origin=embedding_fingerprint(model)
    )
    mids, targets = model.labels.mids, clips.sparse_targets()
    for first in range(0, len(embeddings), _PART):
        part = range(first, min(first + _PART, len(embeddings)))
        columns = [targets.indices[targets.offsets[index] : targets.offsets[index + 1]] for index in part]
        learner.learn_clips(embeddings[first : part.stop], [[mids[column] for column in one] for one in columns])
    run.reporter.message(
        f"The head is solved for from {len(embeddings)} clips, penalty {learner.chosen_penalty():.3g}."
    )
    return learner
