"""Few clips a class: the analytic learner beside the cosine to class means and ridge regression, on ESC-10.

python benchmarks/analytic.py [ESC10] --weights WEIGHTS [--model mn04_as] [--draws 10] [--cache embeddings.npz]

Each fold in turn is measured on, with 1, 2, 5 and 10 clips a class of the others in ten draws, and with all of
them. The embeddings are computed once. Last, and without ESC10 alone, what one clip costs on-line, in processor time:
run it on one thread (OMP_NUM_THREADS=1).
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import numpy as np

import audiotag
from audiotag.audio import read_audio
from audiotag.models.following import Following


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


def compare(data, draws):
    print("| clips a class | cosine to class means | ridge, penalty 30 | analytic |\n| ---: | ---: | ---: | ---: |")
    for clips in (1, 2, 5, 10, 0):
        row = [f"{accuracies(method, data, clips, draws):.4f}" for method in (class_means, ridge, analytic)]
        print(f"| {clips or 'all'} | {' | '.join(row)} |", flush=True)


def costs(dim, classes=50, clips=500):
    """Milliseconds to learn a clip on-line, head included: the median and the mean; to solve; and megabytes."""
    generator = np.random.default_rng(0)
    labels = audiotag.LabelSet.from_names([f"class {label}" for label in range(classes)])
    learner = audiotag.AnalyticLearner(labels, dim)
    following, times = Following(learner), []
    for clip in generator.standard_normal((clips, dim)):
        begin = time.process_time()
        following.learn(clip, [len(times) % classes])
        following.head()
        times.append((time.process_time() - begin) * 1e3)
    begin = time.process_time()
    learner.scores(generator.standard_normal((1, dim)))
    solved = (time.process_time() - begin) * 1e3
    return statistics.median(times), statistics.mean(times), solved, len(learner.to_bytes()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--model", default="mn04_as")
    parser.add_argument("--weights", default="store")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--cache", type=Path, default=Path("esc10_embeddings.npz"))
    arguments = parser.parse_args()
    if arguments.folder is not None:
        compare(embeddings(arguments.folder, arguments.model, arguments.weights, arguments.cache), arguments.draws)
    for dim in (384, 960):
        usual, mean, solve, size = costs(dim)
        print(f"{dim} dimensions: a clip {usual:.2f} ms (mean {mean:.2f}), solving {solve:.0f} ms, {size:.2f} MB")


if __name__ == "__main__":
    main()
