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
BASE = [sys.executable, "-c", "import click, pluggy, rich.console"]
COMMANDS = {
    "audiotag --help": [SCRIPT, "--help"],
    "audiotag plugins list": [SCRIPT, "plugins", "list"],
    "audiotag models list": [SCRIPT, "models", "list"],
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    measured: dict[str, list[float]] = {name: [] for name in ("base", *COMMANDS)}
    for _ in range(rounds):  # side by side, so that a busy moment hits all of them
        measured["base"].append(seconds(BASE))
        for name, command in COMMANDS.items():
            measured[name].append(seconds(command))
    base = statistics.median(measured["base"])
    print(f"{'import click, pluggy, rich.console':<40}{base * 1000:8.0f} ms")
    for name in COMMANDS:
        median = statistics.median(measured[name])
        print(f"{name:<40}{median * 1000:8.0f} ms   {median / base:.2f} x")


if __name__ == "__main__":
    main()
