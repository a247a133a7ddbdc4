"""What models cost, as ``benchmarks/models.py`` has measured it; read from a table that comes with the package."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("costs.csv")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network costs, on one thread of one machine.

    Attributes:
        parameters: Trainable numbers, head included.
        macs: Multiply-accumulates for ten seconds of sound, without the front end.
        torch_ms: Milliseconds of the processor for ten seconds of sound, waveform to logits, by torch.
        torch_mb: Largest memory of a process that does so, in MB (10⁶ bytes).
        onnx_ms: The same by an export in ONNX Runtime; None for a network that cannot be exported.
        onnx_mb: The same.
        machine: Processor and versions.
    """

    parameters: int
    macs: int
    torch_ms: float
    torch_mb: float
    onnx_ms: float | None = None
    onnx_mb: float | None = None
    machine: str = ""


@cache
def known_costs() -> dict[str, Cost]:
    """Name of a model → what it costs, for those that were measured."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row.pop("name"): _cost(row) for row in csv.DictReader(file)}


def _cost(row: dict[str, str]) -> Cost:
    numbers = {name: float(row[name]) for name in ("torch_ms", "torch_mb", "onnx_ms", "onnx_mb") if row[name]}
    return Cost(parameters=int(row["parameters"]), macs=int(row["macs"]), machine=row["machine"], **numbers)
