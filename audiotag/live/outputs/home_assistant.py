"""What Home Assistant is told of a device, so that its sounds show up there by themselves (MQTT discovery).

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload: one retained message describes the device and
all of its entities (Home Assistant 2024.12 and later).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any

from audiotag.labels import Label
from audiotag.live.outputs.names import Topics, object_id

LEVEL = "level_db"
"""Key of a status's details: the level of the sound, in dB below full scale."""

EVENT_TYPES = ["begin", "end", "unconfirmed"]
"""The last one is the end of what was told early, and was nothing after all."""


def device_config(node: str, name: str, topics: Topics, classes: Collection[Label]) -> dict[str, Any]:
    """The device *name*, known as *node*, with a binary sensor and an event entity for each class, and its level."""
    components: dict[str, dict[str, Any]] = {}
    for label in classes:
        of_class = object_id(label)
        components[f"sound_{of_class}"] = {
            "platform": "binary_sensor",
            "unique_id": f"{node}_sound_{of_class}",
            "name": label.name,
            "device_class": "sound",
            "state_topic": topics.sound(label),
        }
        components[f"event_{of_class}"] = {
            "platform": "event",
            "unique_id": f"{node}_event_{of_class}",
            "name": f"{label.name} heard",
            "icon": "mdi:ear-hearing",
            "event_types": EVENT_TYPES,
            "state_topic": topics.event(label),
        }
    components["level"] = {
        "platform": "sensor",
        "unique_id": f"{node}_level",
        "name": "Level",
        "icon": "mdi:volume-high",
        "unit_of_measurement": "dB",
        "state_class": "measurement",
        "suggested_display_precision": 0,
        "entity_category": "diagnostic",
        "state_topic": topics.level,
    }
    return {
        "device": {
            "identifiers": [node],
            "name": name,
            "manufacturer": "audiotag",
            "model": "Sound detector",
            "sw_version": version("audiotag"),
        },
        "origin": {"name": "audiotag", "sw_version": version("audiotag")},
        "availability_topic": topics.availability,
        "qos": 1,
        "components": components,
    }


def without_gone(config: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any] | None:
    """*config* with what takes the entities away that only the one *before* had; None where it had no others."""
    gone = {
        name: {"platform": one["platform"]}
        for name, one in dict(before.get("components") or {}).items()
        if name not in config["components"] and isinstance(one, Mapping) and "platform" in one
    }
    return {**config, "components": {**config["components"], **gone}} if gone else None
