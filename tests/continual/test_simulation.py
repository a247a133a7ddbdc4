"""Streams of labels, and policies side by side on them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from audiotag.continual.policies.baselines import Nothing
from audiotag.continual.simulation import MEASURES, PRESETS, Contender, simulate
from audiotag.continual.streams import (
    Stream,
    burst_stream,
    drifting_stream,
    published_stream,
    read_counts,
    stream_from_counts,
    stream_from_log,
    zipf_shares,
    zipf_stream,
)
from audiotag.errors import ManifestError, OptionError, OutputError, UnknownNameError
from audiotag.labels import Label, LabelSet


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def counts_of(stream: Stream) -> np.ndarray:
    seen = Counter(label for row in stream.labels for label in row)
    return np.array([seen[label] for label in range(len(stream.names))])


def test_counts_come_exactly_and_in_random_order() -> None:
    stream = stream_from_counts({"dog": 40, "rain": 10, "never": 0}, rng())
    assert stream.names == ("dog", "rain", "never")
    assert counts_of(stream).tolist() == [40, 10, 0]
    assert stream.labels != tuple(sorted(stream.labels))
    assert stream == stream_from_counts({"dog": 40, "rain": 10, "never": 0}, rng())
    with pytest.raises(OptionError):
        stream_from_counts({"dog": -1}, rng())


def test_zipf_frequencies_fall_with_the_rank() -> None:
    assert zipf_shares(4, 1.0) == pytest.approx(np.array([12, 6, 4, 3]) / 25)
    assert zipf_shares(4, 0.0) == pytest.approx([0.25] * 4)
    shares = counts_of(zipf_stream(4, 20000, rng(), exponent=1.0)) / 20000
    assert shares == pytest.approx(zipf_shares(4, 1.0), abs=0.015)
    several = zipf_stream(6, 3000, rng(), most_labels=3)
    lengths = Counter(map(len, several.labels))
    assert set(lengths) == {1, 2, 3} and min(lengths.values()) > 900
    assert all(list(row) == sorted(set(row)) for row in several.labels)
    with pytest.raises(OptionError):
        zipf_stream(2, 100, rng(), most_labels=3)


def test_drifting_turns_the_ranking_round() -> None:
    stream = drifting_stream(5, 10000, rng(2), exponent=2.0)
    start = counts_of(Stream(stream.names, stream.labels[:1000]))
    end = counts_of(Stream(stream.names, stream.labels[-1000:]))
    assert start.argmax() == end.argmin() or end[start.argmax()] < start.max() / 5
    assert np.corrcoef(start, end)[0, 1] < 0


def test_bursts_have_their_mean_length() -> None:
    stream = burst_stream(30, 20000, rng(), exponent=0.0, mean_length=25.0)
    changes = sum(a != b for a, b in zip(stream.labels, stream.labels[1:], strict=False))
    assert 20000 / changes == pytest.approx(25.0 * 30 / 29, rel=0.15)
    with pytest.raises(OptionError):
        burst_stream(3, 10, rng(), mean_length=0.5)


def test_logs_are_read_by_name_and_mid(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text('video_id,predicted_label\na,"Dog,Rain"\nb,\nc,"Rain, heavy"\nd,/m/1;Rain\n', encoding="utf-8")
    labels = LabelSet([Label("/m/1", "Dog"), Label("/m/2", "Rain"), Label("/m/3", "Rain, heavy")])
    assert stream_from_log(log, labels).labels == ((0, 1), (2,), (0, 1))
    assert stream_from_log(log).names == ("/m/1", "Dog", "Rain", "heavy")
    with pytest.raises(ManifestError, match=r"log\.csv.*'Rain' is not a class of"):
        stream_from_log(log, LabelSet([Label("/m/1", "Dog")]))
    log.write_text("labels\nDog,Rain\n")
    with pytest.raises(ManifestError, match="line 2"):
        stream_from_log(log)
    log.write_text("a,b\n1,2\n")
    with pytest.raises(ManifestError, match="labels"):
        stream_from_log(log)
    log.write_text("labels\n\n")
    with pytest.raises(ManifestError, match="no row"):
        stream_from_log(log)
    with pytest.raises(ManifestError, match="read"):
        stream_from_log(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_logs_and_counts_are_read_as_lists_to_learn_from_are(tmp_path: Path, encoding: str, delimiter: str) -> None:
    """What ``finetune --data`` takes: any Unicode, a space before a quote, ``|``, ``none``, accents either way."""
    cells = [["path", "labels"], ["a.wav", ' "Cafe\u0301, bar"'], ["b.wav", "Caf\u00e9, bar|Dog"], ["c.wav", "none"]]
    text = "\r\n".join(delimiter.join(row) for row in cells)
    (tmp_path / "log.csv").write_bytes(
        text.replace("Caf\u00e9, bar|", '"Caf\u00e9, bar|').replace("|Dog", '|Dog"').encode(encoding)
    )
    labels = LabelSet.from_names(["Caf\u00e9, bar", "Dog"])
    assert stream_from_log(tmp_path / "log.csv", labels).labels == ((0,), (0, 1))
    counts = f'sep={delimiter}\r\nlabel{delimiter}count\r\n "Cafe\u0301, bar"{delimiter} 3\r\n\r\nDog{delimiter}2\r\n'
    (tmp_path / "counts.csv").write_bytes(counts.encode(encoding))
    assert read_counts(tmp_path / "counts.csv") == {"Caf\u00e9, bar": 3, "Dog": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,number\ndog,1\n", r"columns? 'label', 'count' is missing; there are: name, number"),
        ("label,count\ndog,1\ndog,2\n", r"line 3: the class 'dog' occurs twice"),
        ("label,count\ndog,many\n", r"line 2: the count is 'many'"),
        ("label,count\ndog,-1\n", r"line 2: the count is '-1'"),
        ("label,count\n,1\n", r"line 2: the class has no name"),
        ("label,count\na, b,1\n", r"line 2: 3 cells where the first line names 2"),
    ],
)
def test_wrong_counts_say_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "counts.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_counts(tmp_path / "counts.csv")


def test_the_published_example_starts_full() -> None:
    stream = published_stream(100, rng())
    assert len(stream) == 100 and len(stream.stored_before) == 50 and len(stream.names) == 5
    assert stream.observed_before is not None and (stream.observed_before >= 50).all()
    assert {len(row) for row in stream.labels} == {1, 2}
    simulation = simulate(PRESETS["published"].stream, PRESETS["published"].contenders, 50, seeds=[0, 1], points=100)
    assert simulation.clips[0].min() == 50 and simulation.steps.tolist() == list(range(1, 101))
    before = stream.observed_before.sum()
    assert simulation.observed.sum(axis=-1)[0, -1] > before
    assert simulation.policies[0] == "distribution_matching(replace_prob=0.7)"


def test_rare_classes_survive_with_the_balanced_policies_only() -> None:
    preset = PRESETS["rare"]
    summary = {
        row["policy"]: row for row in simulate(preset.stream, preset.contenders, preset.capacity, seeds=[3]).summary()
    }
    assert summary["class_balanced"]["classes_retained"] == summary["partitioning"]["classes_retained"] == 21
    assert summary["distribution_matching(replace_prob=0.7)"]["classes_retained"] < 12
    assert summary["none"]["total_variation_from_observed"] is None


def test_every_policy_sees_the_same_stream_and_seeds_repeat() -> None:
    contenders = [Contender("reservoir"), Contender("fifo"), Contender("partitioning", {"rho": 1.0})]

    def run(seeds: list[int]) -> np.ndarray:
        return simulate(lambda generator: zipf_stream(5, 200, generator), contenders, 10, seeds=seeds).stored

    both, second = run([4, 5]), run([5])
    assert np.array_equal(both[:, 1:], second)
    assert not np.array_equal(both[:, 0], both[:, 1])
    made = simulate(lambda generator: zipf_stream(5, 200, generator), contenders, 10, seeds=[4], points=7)
    assert len(made.steps) == 7 and made.steps[0] == 1 and made.steps[-1] == 200
    assert made.observed[0, -1].sum() == 200


def test_numbers_are_written(tmp_path: Path) -> None:
    made = simulate(
        lambda generator: zipf_stream(3, 60, generator),
        [Contender("fifo"), Contender("none")],
        5,
        seeds=[1, 2],
        points=4,
    )
    made.write_counts(tmp_path / "counts.csv")
    made.write_measures(tmp_path / "measures.csv")
    rows = list(csv.DictReader((tmp_path / "counts.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * 4 * 3
    last = [row for row in rows if row["policy"] == "fifo" and row["seed"] == "2" and row["step"] == "60"]
    assert sum(int(row["stored"]) for row in last) == 5 and sum(int(row["observed"]) for row in last) == 60
    measures = list(csv.DictReader((tmp_path / "measures.csv").read_text().splitlines()))
    assert tuple(measures[0])[3:] == MEASURES and len(measures) == 2 * 2 * 4
    assert {row["total_variation_from_observed"] for row in measures if row["policy"] == "none"} == {""}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts.csv", "measures.csv"]
    with pytest.raises(OutputError, match="cannot be written"):
        made.write_counts(tmp_path / "counts.csv" / "counts.csv")


def test_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from audiotag.continual.plots import plot_distributions, plot_measures

    made = simulate(
        lambda generator: zipf_stream(15, 60, generator),
        [Contender("fifo"), Contender("none")],
        5,
        seeds=[1, 2],
        points=9,
    )
    plot_distributions(made, tmp_path / "a.png")
    plot_measures(made, tmp_path / "b.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "b.svg").read_text()
    with pytest.raises(OptionError, match="png"):
        plot_measures(made, tmp_path / "b.txt")
    empty = simulate(lambda generator: zipf_stream(3, 6, generator), [Contender(Nothing.name)], 5)
    with pytest.raises(OptionError, match="nothing to draw"):
        plot_distributions(empty, tmp_path / "c.png")


def test_what_cannot_be_simulated_is_refused() -> None:
    def stream(generator: np.random.Generator) -> Stream:
        return zipf_stream(3, 10, generator)

    fifo = Contender("fifo")
    for contenders, seeds in ([], [0]), ([fifo, fifo], [0]), ([fifo], []):
        with pytest.raises(OptionError):
            simulate(stream, contenders, 5, seeds=seeds)
    with pytest.raises(OptionError, match="point in time"):
        simulate(stream, [fifo], 5, points=0)
    with pytest.raises(UnknownNameError):
        simulate(stream, [Contender("fofi")], 5)
    with pytest.raises(OptionError, match="differ"):
        simulate(
            lambda generator: zipf_stream(3, int(generator.integers(5, 500)), generator), [fifo], 5, seeds=[0, 1, 2]
        )
