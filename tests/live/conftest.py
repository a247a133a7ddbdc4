"""Brokers, homes and addresses for one test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from neighbours import MOSQUITTO, Address, Broker, Home


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Makes a broker; *lines* go into its configuration, in place of the one that lets everybody in."""
    if MOSQUITTO is None:
        if os.environ.get("AUDIOTAG_REQUIRE_SERVERS") == "1":
            pytest.fail("mosquitto is not installed (apt install mosquitto)")
        pytest.skip("mosquitto is not installed")
    pytest.importorskip("paho.mqtt")
    made: list[Broker] = []

    def make(*lines: str) -> Broker:
        folder = tmp_path / f"broker{len(made)}"
        folder.mkdir()
        made.append(Broker(folder, *lines))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Broker]) -> Broker:
    return make_broker()


@pytest.fixture
def make_home() -> Iterator[Callable[..., Home]]:
    made: list[Home] = []

    def make(broker: Broker, **login: str) -> Home:
        made.append(Home(broker, **login))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def address() -> Iterator[Address]:
    made = Address()
    yield made
    made.close()


@pytest.fixture
def told() -> list[str]:
    return []
