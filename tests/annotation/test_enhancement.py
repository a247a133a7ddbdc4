"""Label enhancement agrees with the published one, and keeps its promises on anything."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.annotation.checks import check_labels
from audiotag.annotation.enhancement import class_thresholds, enhance_labels, missing_labels, relations
from audiotag.data.clips import Clip, ClipSet
from audiotag.data.scores import Scores
from audiotag.errors import LabelError, ManifestError, OptionError
from audiotag.labels import Label, LabelSet, known_labels
from audiotag.ontology import Ontology, OntologyNode

PETS = Ontology(
    [
        OntologyNode("animal", "Animal", (), ("pet", "cow")),
        OntologyNode("pet", "Pet", (), ("dog", "cat")),
        OntologyNode("dog", "Dog", (), ("bark", "GROUP")),
        OntologyNode("cat", "Cat"),
        OntologyNode("cow", "Cow"),
        OntologyNode("bark", "Bark"),
        OntologyNode("GROUP", "A group", ("abstract",), ("howl",)),
        OntologyNode("howl", "Howl"),
        OntologyNode("rain", "Rain"),
    ],
    "pets",
)
CLASSES = LabelSet([Label(mid, node.name) for mid, node in PETS.items()], "classes")


def clip_set(*labels, classes=CLASSES, **options):
    return ClipSet(
        tuple(
            Clip(f"c{row}", Path(f"c{row}.wav"), tuple(sorted(classes.index(one) for one in text.split())))
            for row, text in enumerate(labels)
        ),
        classes,
        **options,
    )


def scores_of(clips, high=(), low=0.1):
    """Everything scores *low*, the carried classes 0.5, and the pairs (clip, class) of *high* 0.9."""
    values = np.full((len(clips), len(clips.labels)), low, dtype=np.float32)
    values[clips.targets() > 0] = 0.5
    for row, mid in high:
        values[row, clips.labels.index(mid)] = 0.9
    return Scores(values, tuple(clip.id for clip in clips), clips.labels.mids)


def mids(clips):
    return [" ".join(clips.labels[index].mid for index in clip.labels) for clip in clips]


@pytest.fixture(scope="module")
def golden(assets):
    facts = json.loads((assets / "golden" / "label_enhancement.json").read_text())
    values = np.load(assets / "golden" / "label_enhancement.npz")["predictions"]
    labels = known_labels("audioset")
    clips = ClipSet(
        tuple(
            Clip(
                entry["wav"], Path(entry["wav"]), tuple(sorted(labels.index(mid) for mid in entry["labels"].split(",")))
            )
            for entry in facts["data"]
        ),
        labels,
    )
    # Neither rows nor columns lie in the order of the clips and classes.
    names, columns = [clip.id for clip in clips][::-1], labels.mids[::-1]
    return facts["results"], clips, Scores(values[::-1, ::-1], tuple(names), columns)


@pytest.mark.parametrize("threshold", ["mean", "25"])
def test_golden_labels(golden, threshold):
    results, clips, scores = golden
    expected = results[threshold]
    both = enhance_labels(clips, scores, threshold=threshold)
    assert [sorted(text.split()) for text in mids(both.clips)] == expected["merged"]
    for types in ("1", "2"):
        one = enhance_labels(clips, scores, threshold=threshold, types=types)
        assert sum(len(clip.labels) for clip in one.clips) == expected[f"type{types}_total"]
        np.testing.assert_array_equal(one.added, both.added_by_type[int(types)])
        assert not one.added_by_type[3 - int(types)].any()
    assert set(results) == {"mean", "25"}


def test_thresholds_are_statistics_of_the_carriers_scores():
    targets = np.zeros((7, 3), dtype=bool)
    targets[:6, 0] = targets[6, 1] = True
    scores = np.tile(np.array([[0.0, 0.1, 0.2, 0.3, 0.9, np.nan, 0.4]]).T, 3)
    expected = {"mean": 0.3, "median": 0.2, "25": 0.1, "10": 0.04, "5": 0.02}
    for kind, value in expected.items():
        np.testing.assert_allclose(class_thresholds(targets, scores, kind), [value, 0.4, np.nan])
    with pytest.raises(OptionError, match="'50'"):
        class_thresholds(targets, scores, "50")


def test_type_1_adds_direct_children_and_type_2_everything_above():
    clips = clip_set("animal", "bark", "animal pet dog cow cat bark")
    high = [(0, "pet"), (0, "dog"), (1, "dog"), (1, "animal")]
    done = enhance_labels(clips, scores_of(clips, high), ontology=PETS)
    assert mids(done.clips) == ["animal pet", "animal dog bark", "animal pet dog cat cow bark"]
    assert done.added_to() == {"c0": ("pet",), "c1": ("animal", "dog")}
    rows = {(row["type"], row["parent"], row["child"]): (row["lacking"], row["added"]) for row in done.report()}
    assert rows == {
        (1, "Animal", "Pet"): (1, 1),
        (1, "Animal", "Cow"): (1, 0),
        (2, "Dog", "Bark"): (1, 1),
        (2, "Pet", "Bark"): (1, 0),
        (2, "Animal", "Bark"): (1, 1),
    }
    assert all(row["threshold"] == 0.5 for row in done.report())
    facts = done.to_dict()
    assert (facts["labels_before"], facts["labels_added"], facts["clips_changed"]) == (8, 3, 2)
    assert (facts["added_type_1"], facts["added_type_2"]) == (1, 2)
    json.dumps(facts)


def test_a_score_at_the_threshold_is_not_enough():
    clips = clip_set("pet", "dog")
    scores = scores_of(clips)
    scores.scores[0, CLASSES.index("dog")] = 0.5
    assert mids(enhance_labels(clips, scores, ontology=PETS).clips) == ["pet", "dog"]


def test_a_sibling_does_not_keep_a_child_out():
    clips = clip_set("pet cat", "dog")
    assert mids(enhance_labels(clips, scores_of(clips, [(0, "dog")]), ontology=PETS).clips) == ["pet dog cat", "dog"]


def test_classes_that_nobody_carries_are_never_added_and_reported():
    clips = clip_set("pet", "bark")
    done = enhance_labels(clips, scores_of(clips, [(0, "dog"), (0, "cat"), (1, "dog")]), ontology=PETS)
    assert not done.added.any()
    assert done.without_threshold == ("animal", "dog", "cat", "cow", "GROUP", "howl", "rain")
    assert {row["threshold"] for row in done.report() if row["child"] == "Dog"} == {None}


def test_abstract_nodes_take_no_part():
    clips = clip_set("howl", "GROUP", "dog", "howl GROUP dog pet")
    every = [(row, mid) for row in range(3) for mid in CLASSES.mids]
    done = enhance_labels(clips, scores_of(clips, every), ontology=PETS)
    # GROUP is added to nothing, brings no howl, and is no way from howl up to dog.
    assert mids(done.clips)[:2] == ["howl", "GROUP"]
    assert "GROUP" not in mids(done.clips)[2]


def test_clips_classes_and_names_without_scores_are_left_alone():
    clips = clip_set("pet", "dog", "pet dog")
    whole = scores_of(clips, [(0, "dog"), (1, "pet")])
    part = Scores(whole.scores[1:, :3], whole.ids[1:], whole.mids[:3])
    done = enhance_labels(clips, part, ontology=PETS)
    assert mids(done.clips) == ["pet", "pet dog", "pet dog"]
    assert done.without_scores == ("c0",)
    assert done.unscored_classes == CLASSES.mids[3:] and done.without_threshold == ("animal",)
    with pytest.raises(ManifestError, match="none of the 3 clips"):
        enhance_labels(clips, Scores(whole.scores[:1], ("other",), whole.mids), ontology=PETS)


def test_the_ontology_may_lack_classes_but_not_all():
    classes = LabelSet.from_names(["dog", "kettle"], "mine")
    clips = clip_set("dog", "kettle", classes=classes)
    assert enhance_labels(clips, scores_of(clips), ontology=PETS).outside_ontology == ("kettle",)
    other = clip_set("kettle", classes=LabelSet.from_names(["kettle"], "mine"))
    with pytest.raises(LabelError, match="none of the 1 classes of mine is in pets"):
        enhance_labels(other, scores_of(other), ontology=PETS)
    with pytest.raises(OptionError, match="no type '3'"):
        enhance_labels(clips, scores_of(clips), ontology=PETS, types="3")


def test_what_was_unknown_is_known_once_it_is_added():
    clips = clip_set("dog", "pet")
    unknown = (CLASSES.index("pet"), CLASSES.index("rain"))
    first = Clip("c0", Path("a"), clips[0].labels, unknown=unknown, fold=3, extra=(("take", "A"),))
    clips = ClipSet((first, clips[1]), CLASSES, single_label=True)
    done = enhance_labels(clips, scores_of(clips, [(0, "pet")]), ontology=PETS)
    changed = done.clips[0]
    assert mids(done.clips)[0] == "pet dog" and changed.unknown == (CLASSES.index("rain"),)
    assert (changed.fold, changed.extra) == (3, (("take", "A"),))
    assert not done.clips.single_label


# Properties, on any ontology of eight classes, any labels and any scores.


@st.composite
def cases(draw):
    names = [f"n{index}" for index in range(8)]
    nodes = [
        OntologyNode(
            name,
            name,
            ("abstract",) if index < 7 and draw(st.integers(0, 4)) == 0 else (),
            tuple(draw(st.lists(st.sampled_from(names[index + 1 :]), unique=True, max_size=3))) if index < 7 else (),
        )
        for index, name in enumerate(names)
    ]
    rows = draw(st.integers(1, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    targets = generator.random((rows, 8)) < 0.3
    # Few values, so that scores at a threshold happen.
    scores = (generator.integers(0, 5, (rows, 8)) / 4).astype(np.float32)
    clips = ClipSet(
        tuple(Clip(f"c{row}", Path("x"), tuple(map(int, np.flatnonzero(targets[row])))) for row in range(rows)),
        LabelSet.from_names(names),
    )
    kind = draw(st.sampled_from(["mean", "median", "25", "10", "5"]))
    return Ontology(nodes), clips, Scores(scores, tuple(clip.id for clip in clips), tuple(names)), kind


@settings(max_examples=50)
@given(cases())
def test_nothing_is_removed_and_both_is_the_union(case):
    ontology, clips, scores, kind = case
    done = {types: enhance_labels(clips, scores, threshold=kind, types=types, ontology=ontology) for types in "12"}
    both = enhance_labels(clips, scores, threshold=kind, ontology=ontology)
    before, after = clips.targets() > 0, both.clips.targets() > 0
    assert (after >= before).all() and not (both.added & before).any()
    np.testing.assert_array_equal(after, before | both.added)
    np.testing.assert_array_equal(both.added, done["1"].added | done["2"].added)
    abstract = [node.abstract for node in ontology.values()]
    assert not both.added[:, abstract].any()
    assert not both.added[:, ~before.any(axis=0)].any()
    reported = {"1": 0, "2": 0}
    for pair in both.pairs:
        assert 0 <= pair.added <= pair.lacking
        reported[str(pair.relation.type)] += pair.added
    for types, total in reported.items():
        assert total >= done[types].added.sum()
        assert (total > 0) == done[types].added.any()


@settings(max_examples=50)
@given(cases())
def test_every_added_label_has_its_reason(case):
    ontology, clips, scores, kind = case
    names = clips.labels.mids
    targets = clips.targets() > 0
    done = enhance_labels(clips, scores, threshold=kind, ontology=ontology)
    for row, column in np.argwhere(~targets):
        carried = [names[index] for index in np.flatnonzero(targets[row])]
        name = names[column]
        called = not ontology[name].abstract and (
            any(name in ontology.children(one) for one in carried)
            or any(name in ontology.ancestors(one) for one in carried if not ontology[one].abstract)
        )
        passes = scores.scores[row, column] > done.thresholds[column]
        assert done.added[row, column] == (called and passes)


@settings(max_examples=50)
@given(cases())
def test_a_second_time_with_the_same_thresholds_changes_nothing_above(case):
    ontology, clips, scores, kind = case
    targets = clips.targets() > 0
    pairs = relations(clips.labels, ontology, "2")
    thresholds = class_thresholds(targets, scores.scores, kind)
    added, _ = missing_labels(targets, scores.scores, thresholds, pairs)
    again, _ = missing_labels(targets | added[2], scores.scores, thresholds, pairs)
    assert not again[2].any()


# Checks without scores.


def test_both_errors_are_counted():
    clips = clip_set("animal", "animal pet dog bark", "bark", "bark dog", "rain", "howl")
    check = check_labels(clips, ontology=PETS)
    rows = [(row["type"], row["parent"], row["child"], row["clips"], row["wrong"]) for row in check.report()]
    assert [row[4] for row in rows] == [1, 2, 2, 1, 1, 1]
    assert set(rows) == {
        (1, "Animal", None, 2, 1),
        (2, "Pet", "Bark", 3, 2),
        (2, "Animal", "Bark", 3, 2),
        (2, "Pet", "Dog", 2, 1),
        (2, "Animal", "Dog", 2, 1),
        (2, "Dog", "Bark", 3, 1),
    }
    assert (check.type_1_clips, check.type_2_clips, check.wrong_clips, check.lacking_above) == (1, 2, 3, 5)
    facts = check.to_dict()
    assert facts["wrong_share"] == 0.5 and facts["errors"][0]["share"] == 0.5
    json.dumps(facts)


def test_what_nobody_has_said_is_no_error():
    column = CLASSES.index
    first = Clip("c0", Path("a"), (column("dog"),), unknown=(column("pet"), column("bark")))
    second = Clip("c1", Path("a"), (column("pet"),), unknown=(column("cat"),))
    check = check_labels(ClipSet((first, second), CLASSES), ontology=PETS)
    assert {(row["type"], row["parent"], row["child"]) for row in check.report()} == {
        (2, "Animal", "Dog"),
        (2, "Animal", "Pet"),
    }


def test_strange_classes_are_counted():
    classes = LabelSet.from_names(["dog", "kettle", "GROUP", "horn"], "mine")
    check = check_labels(clip_set("dog kettle", "kettle GROUP", classes=classes), ontology=PETS)
    assert check.outside_ontology == {"kettle": 2} and check.abstract == {"GROUP": 1}
