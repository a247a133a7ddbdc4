"""Offers a second of the storage policies, and of the published rule with its scan of the store.

    python benchmarks/policies.py

Every policy sees the same stream (500 classes by Zipf 1, one or two labels a clip), first until it is full, then in
timed rounds, all in turn. Timed is the processor time, so that other work on the machine counts little. The published
rule is `store_audio_decision`, which goes through the list of stored clips for each clip that it stores.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from audiotag.continual.create import create_policy
from audiotag.continual.policies.distribution_matching import store_audio_decision
from audiotag.continual.policy import Example
from audiotag.continual.streams import zipf_stream

POLICIES = ("reservoir", "class_balanced", "partitioning", "distribution_matching", "fifo", "none")
RULE = "published rule"
REPLACE_PROB = 0.7


class PublishedRule:
    """The published rule with lists of its own, filled to the capacity first."""

    def __init__(self, classes: int) -> None:
        self.observed = np.zeros(classes, dtype=np.int64)
        self.stored = np.zeros(classes, dtype=np.int64)
        self.examples: list[dict[str, Sequence[int]]] = []
        self.generator = np.random.default_rng(0)

    def fill(self, labels: tuple[int, ...]) -> None:
        """Store a clip without asking."""
        self.observed[list(labels)] += 1
        self.stored[list(labels)] += 1
        self.examples.append({"labels": labels})

    def offer(self, labels: tuple[int, ...]) -> bool:
        """Decide on a clip and carry the decision out."""
        self.observed[list(labels)] += 1
        store, _, place = store_audio_decision(
            self.observed, self.stored, labels, self.examples, REPLACE_PROB, self.generator
        )
        if store and place is not None:
            self.stored[list(self.examples[place]["labels"])] -= 1
            self.stored[list(labels)] += 1
            self.examples[place] = {"labels": labels}
        return store


def measure(capacity: int, classes: int, offers: int, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """(offers a second, share of the offers stored) by name: medians over the rounds, and the mean share."""
    stream = zipf_stream(classes, capacity + offers * rounds, np.random.default_rng(0), most_labels=2).labels
    examples = [Example(str(number), labels) for number, labels in enumerate(stream)]
    rule = PublishedRule(classes)
    contenders: dict[str, Callable[[int], bool]] = {RULE: lambda number: rule.offer(stream[number])}
    for labels in stream[:capacity]:
        rule.fill(labels)
    for name in POLICIES:
        policy = create_policy(name, capacity, classes)
        for example in examples[:capacity]:
            policy.offer(example)
        contenders[name] = lambda number, offer=policy.offer: offer(examples[number]).stored
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    stored = dict.fromkeys(contenders, 0)
    for turn in range(rounds):
        first = capacity + turn * offers
        for name, offer in contenders.items():
            # The rule is slow: a tenth of the offers tells its speed.
            last = first + (offers // 10 if name == RULE else offers)
            start = time.process_time()
            stored[name] += sum(offer(number) for number in range(first, last))
            speeds[name].append((last - first) / (time.process_time() - start))
    shares = {name: count / (rounds * (offers // 10 if name == RULE else offers)) for name, count in stored.items()}
    return {name: statistics.median(values) for name, values in speeds.items()}, shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacities", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--classes", type=int, default=500)
    parser.add_argument("--offers", type=int, default=10_000, help="offers in a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for capacity in arguments.capacities:
        speeds, shares = measure(capacity, arguments.classes, arguments.offers, arguments.rounds)
        print(f"capacity {capacity}, {arguments.classes} classes, median of {arguments.rounds} rounds")
        print(f"{'':24}{'offers/s':>12}{'x the rule':>12}{'stored':>9}")
        for name, speed in sorted(speeds.items(), key=lambda item: item[1]):
            print(f"{name:24}{speed:12,.0f}{speed / speeds[RULE]:12.1f}{shares[name]:9.1%}")
        print()


if __name__ == "__main__":
    main()
