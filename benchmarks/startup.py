"""How long the light commands take, against importing what they are made of.

python benchmarks/startup.py [--rounds 15]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = str(Path(sys.executable).parent / "audiotag")
BASES = {
    "import click, pluggy, rich.console": [sys.executable, "-c", "import click, pluggy, rich.console"],
    "import torch": [sys.executable, "-c", "import torch"],
}
LIGHT, HEAVY = BASES
COMMANDS = {
    "audiotag --help": (LIGHT, [SCRIPT, "--help"]),
    "audiotag finetune --help": (LIGHT, [SCRIPT, "finetune", "--help"]),
    "audiotag plugins list": (LIGHT, [SCRIPT, "plugins", "list"]),
    "audiotag models list": (LIGHT, [SCRIPT, "models", "list"]),
    "audiotag.load('home10')": (HEAVY, [sys.executable, "-c", "import audiotag; audiotag.load('home10')"]),
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    commands = BASES | {name: command for name, (_, command) in COMMANDS.items()}
    measured: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):  # side by side, so that a busy moment hits all of them
        for name, command in commands.items():
            measured[name].append(seconds(command))
    for name, times in measured.items():
        base = COMMANDS[name][0] if name in COMMANDS else name
        ratio = statistics.median(mine / theirs for mine, theirs in zip(times, measured[base], strict=True))
        print(f"{name:<40}{statistics.median(times) * 1000:8.0f} ms   {ratio:.2f} x {base}")


if __name__ == "__main__":
    main()
