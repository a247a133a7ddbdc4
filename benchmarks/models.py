"""What the known models cost: parameters, multiply-accumulates, time and memory with torch and ONNX Runtime.

    python benchmarks/models.py                    # every network with a published AudioSet mAP; ten minutes
    python benchmarks/models.py mn04_as ced-tiny   # these alone; what is known of the others stays

Writes audiotag/models/costs.csv, from which come docs/models.md (`python docs/generate_models.py`), its picture
(`python docs/make_pictures.py`) and `audiotag models list --sort`. Weights are random: they cost the same. Each engine
gets a process of its own with one thread, that of ONNX Runtime without torch. Times are the processor's, the least of
several passes over ten seconds of faint noise, waveform to logits; memory is the most that the process had.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from audiotag.csv_text import csv_text
from audiotag.engines.interface import Engine
from audiotag.files import write_text
from audiotag.host import get_host
from audiotag.models.costs import TABLE, Cost, known_costs
from audiotag.specs import BackboneSpec

SECONDS = 10.0
CLASSES = 527
SCORE = "AudioSet mAP"


def measured(engine: Engine, repeats: int) -> dict[str, float]:
    """Milliseconds of the processor for ten seconds of sound, and the process's largest memory in MB."""
    import resource

    lengths = engine.facts.lengths
    seconds = min(SECONDS, lengths.longest)
    noise = np.random.default_rng(0).normal(0, 0.01, (1, round(seconds * lengths.sample_rate))).astype(np.float32)
    video = None if engine.facts.video_shape is None else np.zeros((1, *engine.facts.video_shape), np.float32)
    engine.forward(noise, video)
    times = []
    for _ in range(repeats):
        started = time.process_time()
        engine.forward(noise, video)
        times.append(time.process_time() - started)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"ms": round(min(times) * 1000 * SECONDS / seconds, 2), "mb": round(most / 1e6, 1)}


def with_torch(name: str, repeats: int) -> dict[str, float]:
    """What the torch engine takes."""
    import torch

    from audiotag.engines.torch_engine import TorchEngine

    torch.set_num_threads(1)
    return measured(TorchEngine(random_model(name), device="cpu"), repeats)


def with_onnx(folder: str, repeats: int) -> dict[str, float]:
    """What ONNX Runtime takes."""
    from audiotag.engines.onnx_engine import OnnxEngine

    return measured(OnnxEngine(folder, threads=1), repeats)


def exported(name: str, folder: str) -> dict[str, float]:
    """Export the model, and count what it is made of."""
    from audiotag.export.folder import write_exported
    from audiotag.models.complexity import measure_complexity

    model = random_model(name)
    counted = measure_complexity(model.backbone, SECONDS)
    if not model.spec.not_exported:
        Path(folder).mkdir()
        write_exported(model, Path(folder))
    return {"parameters": counted.parameters, "macs": counted.macs}


def random_model(name: str) -> Any:
    """The model with random weights."""
    from audiotag.models.create import create_backbone
    from audiotag.models.loading import numbered_labels
    from audiotag.models.model import Model

    spec = get_host().backbone(name)
    classes = spec.num_classes or CLASSES
    return Model(create_backbone(spec, classes).eval(), spec, spec.options, numbered_labels(classes), name)


def in_process(*arguments: str) -> Any:
    """What a process of one thread says that does one of the parts above."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__, "--part", *arguments], stdout=subprocess.PIPE, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return json.loads(done.stdout.splitlines()[-1])


def cost_of(name: str, repeats: int, machine: str) -> Cost:
    """Measure one model."""
    with TemporaryDirectory() as scratch:
        folder = str(Path(scratch, "exported"))
        counted = in_process("exported", name, folder)
        torch = in_process("with_torch", name, str(repeats))
        onnx = in_process("with_onnx", folder, str(repeats)) if Path(folder).exists() else {}
    return Cost(
        **counted,
        torch_ms=torch["ms"],
        torch_mb=torch["mb"],
        onnx_ms=onnx.get("ms"),
        onnx_mb=onnx.get("mb"),
        machine=machine,
    )


def machine_text() -> str:
    """Processor and versions."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime"))
    return f"{names[0] if names else platform.machine()}; {versions}"


def network(spec: BackboneSpec) -> tuple[str, str, int]:
    """What models of one network have in common."""
    return spec.factory, repr(sorted(spec.options.items())), spec.num_classes or CLASSES


def write(costs: dict[str, Cost]) -> None:
    """Write the table, in the order of the registry."""
    names = [name for name in get_host().backbones if name in costs]
    columns = [one.name for one in fields(Cost)]
    rows = [[name, *asdict(costs[name]).values()] for name in names]
    write_text(TABLE, csv_text([["name", *columns], *rows]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part is not None:
        part, place, *last = arguments.part
        parts = {"exported": exported, "with_torch": with_torch, "with_onnx": with_onnx}
        print(json.dumps(parts[part](place, *(map(int, last) if part != "exported" else last))))  # type: ignore[operator]
        return
    specs = get_host().backbones
    names = arguments.names or [name for name, spec in specs.items() if spec.weights and SCORE in spec.figures]
    costs, machine = dict(known_costs()), machine_text()
    done: dict[tuple[str, str, int], Cost] = {}
    for name in names:
        key = network(get_host().backbone(name))
        if key not in done:
            started = time.monotonic()
            done[key] = cost = cost_of(name, arguments.repeats, machine)
            print(f"{name} ({time.monotonic() - started:.0f} s): {asdict(cost)}", flush=True)
        costs |= {other: done[key] for other, spec in specs.items() if spec.weights and network(spec) == key}
        write(costs)


if __name__ == "__main__":
    main()
