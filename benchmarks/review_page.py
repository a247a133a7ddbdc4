"""The page with many detections: first paint of the list, and the time of a verdict; needs no browser.

python benchmarks/review_page.py --detections 100000
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from audiotag.data.detections import Detections
from audiotag.labels import read_labels
from audiotag.review.store import ReviewStore
from audiotag.serve.access import Access
from audiotag.serve.app import create_app
from audiotag.serve.recordings import Recordings
from audiotag.serve.review_pages import paths_of, review_routes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detections", type=int, default=100_000)
    count = parser.parse_args().detections
    generator, labels = np.random.default_rng(0), read_labels("audioset")
    onsets = generator.uniform(0, 3600, count)
    found = Detections(
        recordings=generator.integers(0, 1000, count).astype(np.int32),
        onsets=onsets,
        offsets=onsets + 1,
        indices=generator.integers(0, len(labels), count).astype(np.int32),
        scores=generator.random(count).astype(np.float32),
        names=[f"{number}.wav" for number in range(1000)],
        begins=[None] * 1000,
        labels=labels,
        root=Path("/"),
        source="a benchmark",
    )
    with tempfile.TemporaryDirectory() as folder, ReviewStore.create(Path(folder) / "review", labels) as store:
        store.add_detections(found)
        app = create_app(Access(), review_routes(store, Recordings(lambda: paths_of(store), [])))
        client = TestClient(app, base_url="http://localhost")
        for address in ("/", "/?order=class", "/?label=Speech&least=0.5", "/ask", "/classes", "/recordings"):
            begun = time.perf_counter()
            assert client.get(address).status_code == 200
            print(f"{address:<26} {time.perf_counter() - begun:.3f} s")
        times = []
        for number in range(1, 201):
            begun = time.perf_counter()
            said = {"action": "confirm", "version": 0, "who": "Ann"}
            assert client.post(f"/events/{number}", json=said).status_code == 200
            times.append(time.perf_counter() - begun)
        print(f"{'verdict, median':<26} {statistics.median(times) * 1000:.1f} ms")
    print(f"{'memory':<26} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
