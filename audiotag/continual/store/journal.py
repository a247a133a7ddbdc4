"""The state of a store's policy: a snapshot, and every operation since.

A policy is a function of its state and of what it is asked, so a snapshot and the operations after it say all.
One operation is one short row, whatever the capacity; a new snapshot replaces the rows when there are many. This is
also how two processes share a store: before it decides, each repeats what the other did.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

from audiotag.continual.create import build_policy
from audiotag.continual.packing import pack, unpack
from audiotag.continual.policy import MODEL_OUTPUTS, Decision, Example, StoragePolicy
from audiotag.continual.store.database import REPAIR, read_head
from audiotag.documents import Fields, parse_json
from audiotag.errors import AudiotagError, StoreError
from audiotag.host import get_host
from audiotag.host.needs import needed, warn_of_version
from audiotag.specs import SamplingPolicySpec

_MOST_ENTRIES = 1000
"""Operations kept before a snapshot, for small stores; large ones keep as many as they have clips."""


def fresh_policy(settings: dict[str, Any], num_classes: int, *, where: Path) -> StoragePolicy:
    """The policy of a store before anything was offered. Warns where another version brings it than the last state.

    Raises:
        StoreError: No plugin brings the policy any more.
        OptionError: Its options are out of range.
    """
    capacity = settings["capacity"]
    if plugin := settings.get("plugin"):
        until = "Until then it can be listed, verified and exported."
        release = settings.get("plugin_version") or ""
        brought = {"distribution": plugin, "release": release}
        spec = needed(
            "the store", SamplingPolicySpec, settings["policy"], **brought, error=StoreError, where=where, until=until
        )
        then = "it may choose otherwise."
        warn_of_version("the state of its policy is by", spec, plugin, release, where=where, then=then)
    return build_policy(
        settings["policy"],
        1 if capacity is None else capacity,
        num_classes,
        settings["options"],
        seed=settings["seed"],
    )


def plugin_of(policy: str) -> dict[str, str]:
    """The settings of a store that say which distribution brings its policy, and in which version."""
    owner = get_host().owner(get_host().sampling_policy(policy))
    return {"plugin": owner.distribution, "plugin_version": owner.version}


def append(database: sqlite3.Connection, entry: list[Any]) -> int:
    """Write an operation and return its number."""
    database.execute("UPDATE head SET operations = operations + 1")
    (operation,) = database.execute("SELECT operations FROM head").fetchone()
    database.execute("INSERT INTO journal VALUES (?, ?)", (operation, json.dumps(entry, separators=(",", ":"))))
    return int(operation)


def write_snapshot(database: sqlite3.Connection, policy: StoragePolicy, operation: int) -> None:
    """Replace the snapshot, and drop the operations it covers."""
    state = json.dumps(policy.state_dict(), separators=(",", ":"))
    database.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?)", (operation, state))
    database.execute("DELETE FROM journal WHERE operation <= ?", (operation,))


def offer_entry(example: Example, needs: Collection[str], observe: bool, decision: Decision) -> list[Any]:
    """The operation of an offer; what the policy *needs* of a model is part of it, so that it can be repeated."""
    entry = ["offer", example.id, list(example.labels), observe, decision.stored, decision.evicted]
    return [*entry, {part: pack(getattr(example, part)) for part in sorted(needs)}] if needs else entry


def snapshot_due(database: sqlite3.Connection, operation: int, clips: int) -> bool:
    """Whether there are many operations since the snapshot."""
    return operation - _snapshot_operation(database) >= max(_MOST_ENTRIES, clips)


def catch_up(
    database: sqlite3.Connection, policy: StoragePolicy | None, known: int, settings: dict[str, Any], folder: Path
) -> tuple[StoragePolicy, int]:
    """Bring a policy up to the last operation of the store.

    Args:
        database: The store's database.
        policy: A policy that stands at the operation *known*; None to start from the snapshot.
        known: See *policy*.
        settings: Settings of the store.
        folder: The store, for messages.

    Returns:
        (policy, number of the last operation).

    Raises:
        StoreError: The policy decides otherwise than it did when the operations were written.
    """
    last = read_head(database, folder).operations
    if policy is not None and known == last:
        return policy, known
    start = _snapshot_operation(database)
    if policy is not None and start <= known <= last:
        _repeat_all(policy, read_operations(database, known, folder), folder)
    else:
        start, state = read_snapshot(database, folder)
        policy = policy_from(settings, state, read_operations(database, start, folder), folder)
    return policy, last


ANEW = "Export the clips (audiotag store export) and add its manifest.json to a new store."
"""What to do where the state of the policy is of no use."""


def read_snapshot(database: sqlite3.Connection, folder: Path) -> tuple[int, Fields]:
    """(operation, state of the policy after it).

    Raises:
        StoreError: There is none, or it is no JSON object.
    """
    row = database.execute("SELECT operation, state FROM snapshot").fetchone()
    if row is None or type(row[0]) is not int or not isinstance(row[1], str):
        raise StoreError("the state of the policy is lost", where=folder, fix=REPAIR)
    where = f"{folder}: state of the policy"
    return row[0], Fields(
        parse_json(row[1], where=where, error=StoreError, fix=REPAIR), where=where, error=StoreError, fix=REPAIR
    )


def read_operations(database: sqlite3.Connection, known: int, folder: Path) -> list[Any]:
    """What was done after the operation *known*.

    Raises:
        StoreError: An operation is missing or no JSON.
    """
    last = read_head(database, folder).operations
    rows = database.execute(
        "SELECT operation, entry FROM journal WHERE operation > ? ORDER BY operation", (known,)
    ).fetchall()
    entries = []
    for operation, entry in rows:
        if operation != known + 1 or not isinstance(entry, str):
            raise StoreError(f"the operation {known + 1} is missing from the journal", where=folder, fix=REPAIR)
        entries.append(parse_json(entry, where=f"{folder}: operation {operation}", error=StoreError, fix=REPAIR))
        known = operation
    if known != last:
        raise StoreError(f"the journal ends at the operation {known} of {last}", where=folder, fix=REPAIR)
    return entries


def policy_from(settings: dict[str, Any], state: Fields, operations: Any, folder: Path) -> StoragePolicy:
    """The policy that a saved state and the operations since describe.

    Raises:
        StoreError: They are damaged, no plugin brings the policy, or it decides otherwise than it did.
    """
    policy = fresh_policy(settings, 1, where=folder)
    try:
        policy.load_state_dict(dict(state))
    except AudiotagError:
        raise
    except Exception as error:  # a policy is a plugin, and the state may be anything
        raise StoreError(f"the state of the policy is damaged: {error!r}", where=folder, fix=REPAIR) from error
    _repeat_all(policy, operations, folder)
    return policy


def _repeat_all(policy: StoragePolicy, operations: Any, folder: Path) -> None:
    try:
        for entry in operations:
            _repeat(policy, entry, folder)
    except AudiotagError:
        raise
    except Exception as error:  # a policy is a plugin, and an operation may be anything
        raise StoreError(f"an operation of the journal is damaged: {error!r}", where=folder, fix=REPAIR) from error


def _snapshot_operation(database: sqlite3.Connection) -> int:
    row = database.execute("SELECT operation FROM snapshot").fetchone()
    if row is None or type(row[0]) is not int:
        raise StoreError("the state of the policy is lost", fix=REPAIR)
    return int(row[0])


def _repeat(policy: StoragePolicy, entry: list[Any], folder: Path) -> None:
    kind, *values = entry
    if kind == "offer":
        example_id, labels, observe, stored, evicted, *heard = values
        parts = Fields(heard[0] if heard else {}, where=f"{folder}: outputs of a model", error=StoreError, fix=REPAIR)
        outputs = {part: unpack(parts.fields(part)) for part in MODEL_OUTPUTS if part in parts}
        decision = policy.offer(Example(example_id, tuple(labels), **outputs), observe=observe)
        agrees = (decision.stored, decision.evicted) == (stored, evicted)
    elif kind == "resize":
        capacity, evicted = values
        agrees = policy.resize(capacity) == evicted
    else:
        agrees = True
        if kind == "observe":
            policy.observe(tuple(values[0]), values[1])
        elif kind == "remove":
            policy.remove(values[0])
        elif kind == "extend":
            policy.extend_classes(values[0])
        else:
            raise StoreError(f"the journal has an unknown operation {kind!r}", where=folder, fix=REPAIR)
    if not agrees:
        raise StoreError(
            f"the policy {policy.name!r} decides otherwise now than when the store was written", where=folder, fix=ANEW
        )
