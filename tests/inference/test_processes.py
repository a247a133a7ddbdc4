"""A tagger in several processes: each way that Python has to start one."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import get_all_start_methods
from pathlib import Path

import numpy as np
import pytest

from audiotag.inference.tagger import Tagger
from audiotag.models.model import Model

MakeModel = Callable[..., Model]
Sound = Callable[..., np.ndarray]

PROGRAM = """
import multiprocessing
import sys

import numpy as np
import torch

from audiotag.inference.tagger import Tagger
from audiotag.labels import LabelSet
from audiotag.models.create import create_backbone
from audiotag.models.model import Model
from audiotag.host import get_host

NOISE = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)


def make():
    labels = LabelSet.from_names(["a", "b"])
    return Model(create_backbone("mn", 2, width_mult=0.4), get_host().backbone("mn"), {}, labels, "tiny")


def given(tagger, queue):
    queue.put(tagger.scores(NOISE, 32_000))


def made_there(queue):
    queue.put(Tagger(make()).scores(NOISE, 32_000))


if __name__ == "__main__":
    torch.set_num_threads(2)
    tagger = Tagger(make())
    expected = tagger.scores(NOISE, 32_000)
    context = multiprocessing.get_context(sys.argv[1])
    queue = context.Queue()
    for target, arguments in ((given, (tagger, queue)), (made_there, (queue,))):
        process = context.Process(target=target, args=arguments, daemon=True)
        process.start()
        np.testing.assert_allclose(queue.get(timeout=60), expected, rtol=1e-4)
        process.join()
    print("done")
"""


@pytest.mark.parametrize(
    "method",
    [name if name == "fork" else pytest.param(name, marks=pytest.mark.slow) for name in get_all_start_methods()],
)
def test_a_tagger_works_in_another_process(tmp_path: Path, method: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "program.py", method],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "done\n", done.stderr


def test_a_tagger_can_be_pickled_before_and_after_use(model: MakeModel, sound: Sound) -> None:
    tagger = Tagger([model(), model(16_000, order=(2, 0, 1))], combine="probabilities")
    fresh = pickle.loads(pickle.dumps(tagger))
    expected = tagger.scores(sound(2.0, (1, 0.0, 2.0)), 8000)
    for copy in (fresh, pickle.loads(pickle.dumps(tagger))):
        np.testing.assert_array_equal(copy.scores(sound(2.0, (1, 0.0, 2.0)), 8000), expected)
        assert copy.labels == tagger.labels and copy.combine == "probabilities"
        assert copy.engines[0].model.spec == tagger.engines[0].model.spec
        with pytest.raises(TypeError):
            copy.engines[0].model.spec.options["x"] = 1
