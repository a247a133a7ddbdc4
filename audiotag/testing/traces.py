"""Watching that code leaves nothing behind: no output, no seed, no setting of the process."""

from __future__ import annotations

import io
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiotag.testing.check import require


@contextmanager
def recorded_output() -> Iterator[Callable[[], str]]:
    """Yields a function that gives what was printed so far, through Python or by native code."""
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile("w+b"))
        for descriptor in (1, 2):
            try:
                kept = os.dup(descriptor)
            except OSError:  # closed by the caller; nothing can be printed there
                continue
            stack.callback(_put_back, kept, descriptor)
            os.dup2(file.fileno(), descriptor)
        text = io.StringIO()
        stack.enter_context(redirect_stdout(text))
        stack.enter_context(redirect_stderr(text))

        def printed() -> str:
            file.seek(0)
            return text.getvalue() + file.read().decode(errors="replace")

        yield printed


def _put_back(kept: int, descriptor: int) -> None:
    os.dup2(kept, descriptor)
    os.close(kept)


def _settings() -> dict[str, Any]:
    return {
        "the default type of floating-point numbers": torch.get_default_dtype(),
        "the default device": torch.empty(0).device,
        "gradients on or off": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn's benchmark mode": torch.backends.cudnn.benchmark,
        "numpy's handling of errors": np.geterr(),
        "the working directory": Path.cwd(),
        # pytest and its plugins keep notes of the running test there.
        "the environment": {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
        "the search path of modules": list(sys.path),
    }


def check_no_traces(work: Callable[[], object], *, draws_from_torch: bool = False) -> None:
    """Run *work* and fail where it printed, seeded or changed a setting of the process.

    The global generators of Python and numpy must be left alone altogether. Where *draws_from_torch*, *work* may draw
    from torch's (initialisation, dropout), but must not seed it: it is run twice, from two states, and must not end in
    one.
    """
    before = _settings()
    ends = []
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 # the global one is watched
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2) if draws_from_torch else (1,):
            torch.default_generator.manual_seed(seed)
            began = torch.get_rng_state()
            with recorded_output() as printed:
                work()
                output = printed()
            require(not output.strip(), f"it printed {output.strip()[:200]!r}; a plugin never prints")
            ends.append(torch.get_rng_state())
    if draws_from_torch:
        require(
            not torch.equal(ends[0], ends[1]),
            "it seeds torch's global generator; draw from what the caller has seeded, or from a generator of your own",
        )
    else:
        require(torch.equal(began, ends[0]), "it uses torch's global generator; take randomness from the one given")
    require(random.getstate() == python_state, "it uses or seeds Python's global random numbers")
    after_numpy = np.random.get_state()  # noqa: NPY002
    same = all(np.array_equal(one, other) for one, other in zip(numpy_state, after_numpy, strict=True))
    require(same, "it uses or seeds numpy's global random numbers")
    after = _settings()
    changed = [name for name in before if before[name] != after[name]]
    require(not changed, f"it changes {', '.join(changed)} of the process and does not put that back")
