"""An engine for several threads: every pass is a turn, and what the engine is stays what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest

from audiotag.engines.interface import Engine
from audiotag.engines.turns import TurnsEngine

METHODS = [name for name in vars(Engine) if not name.startswith("_") and callable(getattr(Engine, name))]


@pytest.mark.parametrize("name", METHODS)
def test_whatever_is_asked_is_asked_of_the_engine_and_every_pass_in_a_turn(name: str) -> None:
    turns: list[str] = []

    @contextmanager
    def turn() -> Iterator[None]:
        turns.append("begun")
        yield
        turns.append("ended")

    engine: Any = create_autospec(Engine, instance=True)
    engine.facts = SimpleNamespace(name="it")
    getattr(engine, name).side_effect = lambda *given, **named: (turns.append("asked"), name)[1]
    arguments = () if name.endswith("fingerprint") else (object(),)
    assert getattr(TurnsEngine(engine, turn), name)(*arguments) == name
    assert turns == (["asked"] if name.endswith("fingerprint") else ["begun", "asked", "ended"])
