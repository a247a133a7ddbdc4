"""Few clips a class: the analytic learner beside the cosine to class means and ridge regression, on ESC-10.

python benchmarks/analytic.py ESC10 --weights WEIGHTS [--model mn04_as] [--draws 10] [--cache embeddings.npz]

Each fold in turn is measured on, with 1, 2, 5 and 10 clips a class of the others in ten draws, and with all of
them. The embeddings are computed once. Last, what one clip costs at 384 and 960 dimensions.
"""

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import audiotag
from audiotag.audio import read_audio


def embeddings(folder: Path, model: str, weights: str, cache: Path):
    if not cache.exists():
        with (folder / "esc10.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        tagger = audiotag.load(model, weights=weights)
        sounds = (read_audio(folder / "audio" / row["filename"], 32_000) for row in rows)
        x = np.concatenate([tagger.embed(sound, 32_000) for sound in sounds])
        y = np.unique([row["category"] for row in rows], return_inverse=True)[1]
        np.savez(cache, x=x, y=y, fold=[int(row["fold"]) for row in rows])
    with np.load(cache) as arrays:
        return arrays["x"].astype(np.float64), arrays["y"], arrays["fold"]


def class_means(x, y, other):
    means = np.stack([x[y == label].mean(axis=0) for label in np.unique(y)])
    return other @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T


def ridge(x, y, other, penalty=30.0):
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    inputs, targets = (x - mean) / deviation, np.eye(y.max() + 1)[y]
    gram = inputs.T @ inputs + penalty * np.eye(x.shape[1])
    return (other - mean) / deviation @ np.linalg.solve(gram, inputs.T @ (targets - targets.mean(axis=0)))


def analytic(x, y, other):
    names = [f"class {label}" for label in np.unique(y)]
    learner = audiotag.AnalyticLearner(audiotag.LabelSet.from_names(names), x.shape[1])
    learner.learn_clips(x, [names[label] for label in y])
    return learner.scores(other)


def accuracies(method, data, clips, draws):
    x, y, folds = data
    found = []
    for fold in np.unique(folds):
        test, train = folds == fold, np.flatnonzero(folds != fold)
        for draw in range(draws if clips else 1):
            order = np.random.default_rng([draw, fold, clips]).permutation(train)
            chosen = np.concatenate([order[y[order] == label][: clips or None] for label in np.unique(y)])
            found.append((method(x[chosen], y[chosen], x[test]).argmax(axis=1) == y[test]).mean())
    return np.mean(found)


def costs(dim, classes=50, clips=40):
    generator = np.random.default_rng(0)
    names = [f"class {label}" for label in range(classes)]
    learner = audiotag.AnalyticLearner(audiotag.LabelSet.from_names(names), dim)
    times = []
    for clip in generator.standard_normal((clips, dim)):
        begin = time.perf_counter()
        learner.learn(clip, names[len(times) % classes])
        times.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    learner.scores(generator.standard_normal((1, dim)))
    solved = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as name:
        learner.save(Path(name, "learner"))
        return statistics.median(times) * 1e3, solved * 1e3, Path(name, "learner").stat().st_size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="mn04_as")
    parser.add_argument("--weights", default="store")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--cache", type=Path, default=Path("esc10_embeddings.npz"))
    arguments = parser.parse_args()
    data = embeddings(arguments.folder, arguments.model, arguments.weights, arguments.cache)
    print("| clips a class | cosine to class means | ridge, penalty 30 | analytic |\n| ---: | ---: | ---: | ---: |")
    for clips in (1, 2, 5, 10, 0):
        row = [f"{accuracies(method, data, clips, arguments.draws):.4f}" for method in (class_means, ridge, analytic)]
        print(f"| {clips or 'all'} | {' | '.join(row)} |", flush=True)
    for dim in (384, 960):
        learn, solve, size = costs(dim)
        print(f"{dim} dimensions: {learn:.2f} ms to learn a clip, {solve:.0f} ms to solve, {size:.2f} MB")


if __name__ == "__main__":
    main()
