"""Properties of label parsing, whatever the texts."""

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.data.reading import read_clips
from audiotag.data.rows import Row, clips_from_rows, split_labels
from audiotag.labels import Label, LabelSet, composed

# In a text that holds several, a name without a picture (a soft hyphen alone) is none: `composed` leaves it out.
plain = st.text(st.characters(exclude_characters=",;|\x00", exclude_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda text: text.strip() == text and composed(f"x{text}") != "x"
)
with_commas = st.lists(plain, min_size=1, max_size=3, unique=True).map(", ".join)


def read_rows(rows, **options):
    return clips_from_rows(rows, source=Path("list"), **options)


@settings(deadline=None)
@given(st.lists(plain, min_size=1, max_size=6), st.sampled_from(",;|"), st.sampled_from(["", " "]))
def test_joined_names_split_again(names, separator, blank):
    assert split_labels((separator + blank).join(names), ";|,") == names


@settings(deadline=None)
@given(st.data(), st.lists(plain, min_size=1, max_size=8, unique=True))
def test_labels_survive_as_text_and_as_list(data, names):
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    expected = tuple(sorted(names.index(name) for name in chosen))
    rows = [Row("1", "a", ",".join(chosen)), Row("2", "b", chosen)]
    assert [clip.labels for clip in read_rows(rows, labels=LabelSet.from_names(names))] == [expected, expected]


@settings(deadline=None)
@given(st.data(), st.lists(with_commas, min_size=1, max_size=5, unique=True))
def test_mids_are_found_beside_names_that_hold_commas(data, names):
    labels = LabelSet([Label(f"/m/{index}", name) for index, name in enumerate(names)])
    chosen = data.draw(st.lists(st.sampled_from(range(len(names))), min_size=1, unique=True))
    rows = [Row("1", "a", ",".join(labels.mids[index] for index in chosen)), Row("2", "b", names[chosen[0]])]
    first, second = read_rows(rows, labels=labels)
    assert first.labels == tuple(sorted(chosen))
    assert second.labels == (chosen[0],)


@settings(deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_clips_changes_nothing_but_the_order(order):
    rows = [Row(str(n), f"clip{n}", [f"class {n % 4}", f"class {n % 3}"]) for n in range(6)]
    straight = read_rows(rows)
    shuffled = read_rows([rows[index] for index in order])
    assert shuffled.labels.mids == straight.labels.mids
    assert list(shuffled) == [straight[index] for index in order]


@settings(deadline=None)
@given(st.lists(st.tuples(plain, st.lists(plain, max_size=3)), min_size=1, max_size=5, unique_by=lambda pair: pair[0]))
def test_manifests_round_trip(pairs):
    entries = [{"video_id": name, "wav": "x.wav", "labels": labels} for name, labels in pairs]
    classes = sorted({label for _, labels in pairs for label in labels}) or ["x"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clips.json")
        path.write_text(json.dumps({"data": entries}), encoding="utf-8")
        clips = read_clips(path, labels=classes, check_files=False)
    assert [clip.id for clip in clips] == [name for name, _ in pairs]
    assert [{classes[index] for index in clip.labels} for clip in clips] == [set(labels) for _, labels in pairs]
