"""Windows of ten seconds every 2.5 seconds, their spectrograms shared and each computed alone; and every ten seconds.

    OMP_NUM_THREADS=1 python benchmarks/windows.py

`mn10` with fresh parameters, exported, one thread; sound in memory. In turns; medians of processor time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from tagging import CLASSES, settle

from audiotag.engines.onnx_engine import OnnxEngine
from audiotag.export.export import export_model
from audiotag.host import get_host
from audiotag.inference.scorer import Scorer
from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.seeding import numpy_generator

SECONDS, ROUNDS = 70, 3
WAYS = {"every 2.5 s, alone": (2.5, False), "every 2.5 s, shared": (2.5, True), "every 10 s": (10.0, True)}


def main() -> None:
    labels = LabelSet.from_names([f"class {index}" for index in range(CLASSES)])
    model = Model(settle(create_backbone("mn", CLASSES)), get_host().backbone("mn"), {}, labels, "mn")
    sound = 0.1 * numpy_generator("windows").standard_normal(32_000 * SECONDS)
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        exported, _ = export_model(model, Path(folder) / "exported")
        tagger = Tagger(OnnxEngine(exported, threads=1))
        for _ in range(ROUNDS):
            for name, (hop, shared) in WAYS.items():
                found = Scorer.shared_frames if shared else lambda *_: [None]
                with patch.object(Scorer, "shared_frames", found):
                    started = time.process_time()
                    for _ in tagger.score_windows((sound, 32_000), window=10.0, hop=hop):
                        pass
                    times[name].append(time.process_time() - started)
    usual = statistics.median(times["every 10 s"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:20} {1000 * median / SECONDS:6.2f} ms for a second of sound  {median / usual:5.2f} ×")


if __name__ == "__main__":
    main()
