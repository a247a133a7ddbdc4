"""The AudioSet ontology and those of users."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotag.errors import LabelError
from audiotag.labels import known_labels
from audiotag.ontology import Ontology, OntologyNode, audioset_ontology, read_ontology


def tree(**children):
    """An ontology from name → children, as text; a name in capitals is abstract."""
    restrictions = {True: ("abstract",), False: ()}
    return Ontology(
        [
            OntologyNode(name, name, restrictions[name.isupper()], tuple(below.split()))
            for name, below in children.items()
        ]
    )


def test_the_shipped_ontology_is_audiosets(assets):
    shipped, published = audioset_ontology(), Ontology.from_json(assets / "facts" / "audioset_ontology.json")
    assert list(shipped.values()) == list(published.values())
    assert len(shipped) == 632 and set(known_labels("audioset").mids) < set(shipped)
    assert read_ontology() is shipped and read_ontology(shipped) is shipped


def test_families_of_audioset():
    ontology = audioset_ontology()
    assert ontology.parents("/m/05tny_") == ("/m/0bt9lr",)  # Bark: Dog
    names = [ontology[mid].name for mid in ontology.ancestors("/m/05tny_")]
    assert names == ["Dog", "Domestic animals, pets", "Animal"]
    assert "/m/05zppz" in ontology.children("/m/09x0r")  # Speech: male speech
    assert ontology.parents("/m/09x0r") == ()  # below Human voice, which is abstract
    assert ontology.children("/m/09l8g") == ()


def test_abstract_nodes_are_no_parents_and_no_way_up():
    ontology = tree(music="GENRE guitar", GENRE="rock", rock="metal", metal="", guitar="")
    assert ontology.ancestors("metal") == ("rock",)
    assert ontology.parents("rock") == () and ontology.children("GENRE") == ()
    assert ontology.children("music") == ("GENRE", "guitar")


def test_several_parents_and_the_nearest_first():
    ontology = tree(a="b c", b="d", c="d", d="e", e="")
    assert ontology.parents("d") == ("b", "c")
    assert ontology.ancestors("e") == ("d", "b", "c", "a")


@settings(max_examples=40)
@given(st.data(), st.integers(1, 12))
def test_ancestors_and_children_agree(data, count):
    names = [f"n{index}" for index in range(count)]
    below = {
        name: data.draw(st.lists(st.sampled_from(names[index + 1 :] or [""]), unique=True, max_size=3))
        for index, name in enumerate(names)
    }
    ontology = tree(**{name: " ".join(children) for name, children in below.items()})

    def under(mid):
        return {mid} | {one for child in ontology.children(mid) for one in under(child)}

    for mid in names:
        assert set(ontology.ancestors(mid)) == {one for one in names if mid in under(one)} - {mid}


@pytest.mark.parametrize(
    ("children", "message"),
    [
        ({"a": "b", "b": "c", "c": "b"}, "b > c > b"),
        ({"a": "a"}, "a > a"),
        ({"A": "b", "b": "A"}, "A > b > A"),
        ({"a": "dog", "dig": ""}, "'a' .* the child 'dog'.*'dig'"),
    ],
)
def test_wrong_ontologies(children, message):
    with pytest.raises(LabelError, match=message):
        tree(**children)


def test_a_long_chain_is_no_trouble():
    ontology = tree(**{f"n{index}": f"n{index + 1}" for index in range(3000)}, n3000="")
    assert len(ontology.ancestors("n3000")) == 3000


def test_unknown_classes_are_named():
    ontology = tree(dog="")
    for ask in (ontology.parents, ontology.children, ontology.ancestors):
        with pytest.raises(LabelError, match=r"'dig' in the ontology.*'dog'"):
            ask("dig")


def test_a_users_ontology_needs_ids_only(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([{"id": "pet", "child_ids": ["dog"], "colour": 1}, {"id": "dog", "name": "Dog"}]))
    ontology = read_ontology(path)
    assert ontology["pet"] == OntologyNode("pet", "pet", (), ("dog",))
    assert ontology.ancestors("dog") == ("pet",) and not ontology["dog"].abstract


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ("{}", "not a list of classes"),
        ("[]", "is empty"),
        ('[{"name": "Dog"}]', "entry 1: id is missing"),
        ('[{"id": " "}]', "entry 1: id is empty"),
        ('[{"id": "a"}, {"id": "a"}]', "'a' occurs twice"),
        ('[{"id": "a", "child_ids": "b"}]', "entry 1: child_ids must be a list of texts"),
        ('[{"id": "a", "restrictions": [1]}]', "entry 1: restrictions must be a list of texts"),
    ],
)
def test_wrong_files(tmp_path, content, message):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(LabelError, match=message):
        read_ontology(path)
    with pytest.raises(LabelError, match="does not exist"):
        read_ontology(tmp_path / "none.json")


def test_many_ways_up_take_no_time():
    layers = 60
    nodes = [
        OntologyNode(f"{layer}{side}", "", (), tuple(f"{layer + 1}{other}" for other in "ab") if layer < layers else ())
        for layer in range(layers + 1)
        for side in "ab"
    ]
    assert len(Ontology(nodes).ancestors(f"{layers}a")) == 2 * layers
