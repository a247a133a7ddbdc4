"""Runs in shards: what ledger and parts cost, what a second worker gains, and merging and reading at size.

python benchmarks/shards.py merge --rows 10000000
python benchmarks/shards.py run --model mn04_as --clips 200
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from audiotag.distributed.merge import Survey
from audiotag.distributed.part_files import LEDGER, RESULTS, encode
from audiotag.distributed.results_folder import End, PartName, ResultsFolder, Run
from audiotag.distributed.shard import Shard

_ROWS_OF_A_CLIP = 4
_CLIPS_OF_A_PART = 4000


def peak_mb() -> float:
    """The most memory that the process has had; what the system counts begins with that of the parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def write_folder(path: Path, rows: int, shards: int) -> None:
    """A folder of made-up results, as *shards* processes leave it."""
    folder, run = ResultsFolder(path), Run({"model": "made up"}, 16_000.0, False)
    folder.begin(run)
    generator = np.random.default_rng(0)
    clips = rows // _ROWS_OF_A_CLIP
    keys = generator.integers(-(1 << 62), 1 << 62, clips)
    for index in range(shards):
        shard, own = Shard(index, shards), np.arange(index, clips, shards)
        for number, begin in enumerate(range(0, len(own), _CLIPS_OF_A_PART)):
            part = PartName(f"{index:05}-of-{shards:05}.{run.digest}-{index:012x}", number, ".parquet")
            places = own[begin : begin + _CLIPS_OF_A_PART]
            names = [f"site{place % 40:02}/20260{place % 9 + 1}10_{place:08}.wav" for place in places.tolist()]
            count = len(places) * _ROWS_OF_A_CLIP
            onsets = np.tile(np.arange(_ROWS_OF_A_CLIP) * 2.5, len(places))
            kinds = generator.integers(0, 527, count).tolist()
            results = {
                "filename": [name for name in names for _ in range(_ROWS_OF_A_CLIP)],
                "onset": onsets,
                "offset": onsets + 2.5,
                "event_label": [f"Class number {kind}" for kind in kinds],
                "mid": [f"/m/{kind:05x}" for kind in kinds],
                "score": generator.random(count, dtype=np.float32),
                "time": [None] * count,
            }
            nothing = [None] * len(places)
            ledger = {
                "number": places,
                "key": keys[places],
                "id": names,
                "filename": names,
                "start": np.zeros(len(places)),
                "stop": np.full(len(places), np.nan),
                "seconds": np.full(len(places), 10.0),
                "whole": np.full(len(places), np.nan),
                "rows": np.full(len(places), _ROWS_OF_A_CLIP),
                "embeddings": np.zeros(len(places), dtype=np.int64),
                "error": nothing,
                "reason": nothing,
                "moment": nothing,
            }
            folder.write(part.results, encode(results, RESULTS, part.ending))
            folder.write(part.ledger, encode(ledger, LEDGER, part.ending))
        folder.end(End.of(shard, keys, float(index)))


def merge(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place, "found")
        subprocess.run(
            [sys.executable, __file__, "write", str(folder), str(options.rows), str(options.shards)], check=True
        )
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{options.rows} rows of {options.shards} shards, {size / 1e6:.0f} MB; {peak_mb():.0f} MB before")
        began = time.perf_counter()
        counts = Survey(ResultsFolder(folder)).counts
        assert counts.complete and counts.rows == options.rows // _ROWS_OF_A_CLIP * _ROWS_OF_A_CLIP
        print(f"check: {time.perf_counter() - began:.1f} s, peak {peak_mb():.0f} MB")
        for format in options.formats:
            began, before = time.perf_counter(), time.process_time()
            Survey(ResultsFolder(folder)).write(Path(place, "merged"), format)
            took, worked = time.perf_counter() - began, time.process_time() - before
            print(f"{format}: {took:.1f} s ({worked:.1f} s of a processor), peak {peak_mb():.0f} MB")


def lists(options: argparse.Namespace) -> None:
    """A list of made-up recordings, read as `audiotag infer --shard` reads it."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        source = Path(place, f"list.{options.kind}")
        schema = pyarrow.schema([("path", pyarrow.string()), ("duration", pyarrow.float64())])
        with source.open("wb") as file:
            writer = pyarrow.csv.CSVWriter if options.kind == "csv" else pyarrow.parquet.ParquetWriter
            with writer(file, schema) as rows:
                for begin in range(0, options.rows, 1_000_000):
                    numbers = range(begin, min(begin + 1_000_000, options.rows))
                    names = [f"site{number % 40:02}/20260510_{number:08}.wav" for number in numbers]
                    rows.write_table(pyarrow.table([names, [600.0] * len(names)], schema=schema))
        print(f"{options.rows} rows, {source.stat().st_size / 1e6:.0f} MB")
        subprocess.run([sys.executable, __file__, "read", str(source)], check=True)


def read_list(source: Path) -> None:
    from array import array

    from audiotag.data.listed import ListedClips
    from audiotag.distributed.results_folder import key_of
    from audiotag.distributed.shard import shared_out

    before, began, keys = peak_mb(), time.process_time(), array("q")
    for _, clip in shared_out(ListedClips(source), 100):
        keys.append(key_of(clip))
    end = End.of(Shard(0, 100), np.frombuffer(keys, dtype=np.int64), 0.0)
    took = time.process_time() - began
    print(f"{end.clips} clips in {took:.1f} s of a processor, peak {peak_mb():.0f} MB ({before:.0f} MB before)")


def run(options: argparse.Namespace) -> None:
    """`audiotag infer` into one file, in a folder by one process, and by two at the same time."""
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        sounds = Path(place, "sounds")
        sounds.mkdir()
        for number in range(options.clips):
            shutil.copy(options.sound, sounds / f"{number:05}{Path(options.sound).suffix}")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}

        def begin(*more: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "audiotag", "infer", str(sounds), *options.infer, *more]
            return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

        def seconds(*processes: subprocess.Popen[bytes]) -> float:
            """Of tagging, as each says itself: without the start of Python and loading the model."""
            told = [process.communicate()[1].decode() for process in processes]
            return max(float(text.rsplit(" in ", 1)[1].split(" s", 1)[0]) for text in told)

        found: dict[str, list[float]] = {"one file": [], "a folder": [], "two processes": []}
        for turn in range(options.repeats):
            out = str(Path(place, f"out{turn}"))
            found["one file"].append(seconds(begin("--output", f"{out}.parquet", "--format", "parquet")))
            found["a folder"].append(seconds(begin("--output", out, "--shard", "0/1")))
            pair = [begin("--output", f"{out}-2", "--shard", f"{index}/2") for index in range(2)]
            found["two processes"].append(seconds(*pair))
        for name, times in found.items():
            ratios = [one / other for one, other in zip(found["one file"], times, strict=True)]
            low, high = min(ratios), max(ratios)
            ratio = statistics.median(ratios)
            print(f"{name}: {statistics.median(times):.2f} s, {ratio:.2f} × one file ({low:.2f} to {high:.2f})")


def main() -> None:
    if sys.argv[1:2] == ["write"]:  # in a process of its own, whose memory does not count
        write_folder(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        return
    if sys.argv[1:2] == ["read"]:
        read_list(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where to work; the folder for temporary files where it is not given")
    verbs = parser.add_subparsers(required=True)
    merging = verbs.add_parser("merge")
    merging.add_argument("--rows", type=int, default=10_000_000)
    merging.add_argument("--shards", type=int, default=20)
    merging.add_argument("--formats", nargs="+", default=["parquet"])
    merging.set_defaults(run=merge)
    listing = verbs.add_parser("list")
    listing.add_argument("--rows", type=int, default=10_000_000)
    listing.add_argument("--kind", choices=["parquet", "csv"], default="parquet")
    listing.set_defaults(run=lists)
    running = verbs.add_parser("run")
    running.add_argument("sound", help="a recording, of which copies are tagged")
    running.add_argument("--clips", type=int, default=200)
    running.add_argument("--repeats", type=int, default=5)
    running.add_argument("infer", nargs=argparse.REMAINDER, help="options of audiotag infer: the model")
    running.set_defaults(run=run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
