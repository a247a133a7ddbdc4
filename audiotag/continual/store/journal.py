"""The state of a store's policy: a snapshot, and every operation since.

A policy is a function of its state and of what it is asked, so a snapshot and the operations after it say all.
One operation is one short row, whatever the capacity; a new snapshot replaces the rows when there are many. This is
also how two processes share a store: before it decides, each repeats what the other did.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from audiotag.continual.create import build_policy
from audiotag.continual.policy import Example, StoragePolicy
from audiotag.errors import StoreError

_MOST_ENTRIES = 1000
"""Operations kept before a snapshot, for small stores; large ones keep as many as they have clips."""


def fresh_policy(settings: dict[str, Any], num_classes: int) -> StoragePolicy:
    """The policy of a store before anything was offered."""
    capacity = settings["capacity"]
    return build_policy(
        settings["policy"],
        1 if capacity is None else capacity,
        num_classes,
        settings["options"],
        seed=settings["seed"],
    )


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
    (last,) = database.execute("SELECT operations FROM head").fetchone()
    if policy is not None and known == last:
        return policy, known
    start = _snapshot_operation(database)
    if policy is None or not start <= known <= last:
        (state,) = database.execute("SELECT state FROM snapshot").fetchone()
        policy, known = fresh_policy(settings, 1), start
        policy.load_state_dict(json.loads(state))
    rows = database.execute("SELECT operation, entry FROM journal WHERE operation > ? ORDER BY operation", (known,))
    for operation, entry in rows:
        if operation != known + 1:
            raise StoreError(f"the operation {known + 1} is missing from the journal", where=folder, fix=_FIX)
        _repeat(policy, json.loads(entry), folder)
        known = operation
    if known != last:
        raise StoreError(f"the journal ends at the operation {known} of {last}", where=folder, fix=_FIX)
    return policy, known


_FIX = "Export the clips (audiotag store export) and make a new store of them."


def _snapshot_operation(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT operation FROM snapshot").fetchone()[0])


def _repeat(policy: StoragePolicy, entry: list[Any], folder: Path) -> None:
    kind, *values = entry
    if kind == "offer":
        example_id, labels, observe, stored, evicted = values
        decision = policy.offer(Example(example_id, tuple(labels)), observe=observe)
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
            raise StoreError(f"the journal has an unknown operation {kind!r}", where=folder, fix="Upgrade audiotag.")
    if not agrees:
        raise StoreError(
            f"the policy {policy.name!r} decides otherwise now than when the store was written", where=folder, fix=_FIX
        )
