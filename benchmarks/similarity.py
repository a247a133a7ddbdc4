"""How fast an index of 100 000 embeddings is made and asked, how much memory that takes, and how much it misses.

    OMP_NUM_THREADS=2 python benchmarks/similarity.py

The embeddings are made up: clusters whose directions fall off as those of real ones do (`--spectrum`).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from audiotag.similarity import SimilarityIndex
from audiotag.similarity.database import Database


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=960)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument(
        "--spectrum", type=float, default=0.5, help="a direction's share falls as rank to the minus this"
    )
    given = parser.parse_args()
    generator = np.random.default_rng(0)
    size = 0.5 + np.arange(given.dim, dtype=np.float32)
    centres = generator.standard_normal((500, given.dim), dtype=np.float32)

    def draw(count: int) -> np.ndarray:
        within = generator.standard_normal((count, given.dim), dtype=np.float32)
        return (centres[generator.integers(500, size=count)] + within) * size**-given.spectrum

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Database.create(folder, {"model": "-", "fingerprint": "-", "dim": given.dim, "window": 10.0, "hop": 10.0})
        (folder / "embeddings.f32").touch()
        with SimilarityIndex(folder) as index:
            adding = 0.0
            for first in range(0, given.embeddings, 1000):
                path = folder / f"{first}.wav"
                path.touch()
                rows = draw(min(1000, given.embeddings - first))
                start = time.perf_counter()
                index.add_embeddings(path, [(place, place + 1) for place in range(len(rows))], rows)
                adding += time.perf_counter() - start
            start = time.perf_counter()
            index.refresh()
            graph = time.perf_counter() - start
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with SimilarityIndex(folder) as index:
            questions = draw(given.questions)
            taken, hits = [], 0
            index.search(questions[0])
            for question in questions:
                start = time.perf_counter()
                found = index.search(question, 10)
                taken.append(time.perf_counter() - start)
                truth = {(one.path, one.onset) for one in index.search(question, 10, exact=True)}
                hits += len(truth & {(one.path, one.onset) for one in found})
        rates = [f"{given.embeddings / seconds:.0f} a second" for seconds in (adding, graph, adding + graph)]
        print(f"added      {rates[0]}; the graph {rates[1]}; both {rates[2]}")
        print(f"a question {np.median(taken) * 1e3:.2f} ms at the median, {np.quantile(taken, 0.95) * 1e3:.2f} at 95 %")
        print(f"recall@10  {hits / (10 * given.questions):.3f}")
        print(f"memory     {before / 1024:.0f} MB at most while it was made")
        print(f"on disk    {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
