"""The HTTP interface under load: whether anything is lost or wrong, how long answers take, and what memory grows.

    OMP_NUM_THREADS=1 python benchmarks/http_interface.py mn04_as RECORDING… [--weights FILE] [--seconds 60]

A real `audiotag serve --model` is asked for the tags of the recordings by 4 clients, which it can answer, then by 16,
which are more than it takes: they are told to come again (429). Every answer is compared with the first one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

TAGS = "/api/v1/tags"
ROOM = ("--at-once", "2", "--waiting", "4")


def memory(process: int) -> float:
    """MB that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def load(address: str, sounds: list[bytes], expected: list[object], clients: int, seconds: float) -> None:
    """Ask as fast as answers come, and print what came of it."""
    statuses: Counter[int] = Counter()
    taken: list[float] = []
    wrong = 0
    end = time.monotonic() + seconds

    def ask(number: int) -> None:
        nonlocal wrong
        with httpx.Client(base_url=address, timeout=60) as client:
            place = number
            while time.monotonic() < end:
                place = (place + 1) % len(sounds)
                begun = time.monotonic()
                answer = client.post(TAGS, content=sounds[place])
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    taken.append(time.monotonic() - begun)
                    wrong += answer.json() != expected[place]
                else:
                    time.sleep(0.05)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients)))
    print(
        f"{clients:3} clients, {seconds:g} s: {dict(sorted(statuses.items()))}, {wrong} wrong, "
        f"median {statistics.median(taken) * 1000:.0f} ms, {statuses[200] / seconds:.1f} a second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--weights")
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    sounds = [path.read_bytes() for path in asked.recordings]
    command = [sys.executable, "-m", "audiotag", "serve", "--model", asked.model, "--port", "0", *ROOM]
    weights = ["--weights", asked.weights] if asked.weights else []
    with subprocess.Popen([*command, *weights], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            with httpx.Client(base_url=address, timeout=60) as client:
                expected: list[object] = [
                    client.post(TAGS, content=sound).raise_for_status().json() for sound in sounds
                ]
            print(f"memory at first {memory(server.pid):.0f} MB")
            for clients in (4, 16):
                load(address, sounds, expected, clients, asked.seconds)
                print(f"memory then {memory(server.pid):.0f} MB")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
