import pickle
import textwrap

import pytest

from audiotag.cli.main import main
from audiotag.errors import AudiotagWarning, NameTakenError, PluginError, StoreError, UnknownNameError
from audiotag.host import get_host, reset_host
from audiotag.host import loading as host_loading
from audiotag.host.kinds import KINDS
from audiotag.host.needs import needed
from audiotag.plugin import BackboneSpec, CommandSpec, DatasetSpec, LossSpec, RecipeSpec, ScheduleSpec, Weights

GOOD = """
from audiotag.plugin import LossSpec, hookimpl

@hookimpl
def register_losses():
    return [LossSpec(name={name!r}, factory={factory!r}, summary="A loss for tests")]
"""


def good(name="my_loss", factory="math:sqrt"):
    return GOOD.format(name=name, factory=factory)


def record(name):
    return next(record for record in get_host().plugins if record.name == name)


BROKEN = {
    "raises at import": ("raise RuntimeError('no licence today')", "RuntimeError: no licence today"),
    "exits at import": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "raises KeyboardInterrupt at import": ("raise KeyboardInterrupt", "KeyboardInterrupt. Upgrade it"),
    "raises a BaseException at import": ("class Odd(BaseException): pass\nraise Odd('so')", "Odd: so"),
    "raises what cannot be shown": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
        "Odd. Upgrade it",
    ),
    "asks the host at import": (
        "from audiotag.host import get_host\nget_host()",
        "it asks the host about plugins while it is loaded itself",
    ),
    "asks the host in a hook": (
        "from audiotag.host import get_host\nfrom audiotag.plugin import hookimpl\n@hookimpl\n"
        "def register_losses(): return list(get_host().losses.values())",
        "it asks the host about plugins while it is loaded itself",
    ),
    "loads a model at import": (
        "import audiotag\naudiotag.load('mn10_as')",
        "it asks the host about plugins while it is loaded itself",
    ),
    "a hook exits": (
        "from audiotag.plugin import hookimpl\n@hookimpl\ndef register_losses(): raise SystemExit(9)",
        "SystemExit: 9",
    ),
    "imports what is missing": ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    "does not parse": ("def (", "SyntaxError"),
    "misspelt hook": (
        "from audiotag.plugin import hookimpl\n@hookimpl\ndef register_backbone(): return []",
        "register_backbone",
    ),
    "wrong signature": (
        "from audiotag.plugin import hookimpl\n@hookimpl\ndef register_losses(registry): return []",
        "registry",
    ),
    "hook raises": (
        "from audiotag.plugin import hookimpl\n@hookimpl\ndef register_losses(): return 1 / 0",
        "ZeroDivisionError",
    ),
    "a descriptor without fields": (
        "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\n"
        "def register_losses(): return [object.__new__(LossSpec)]",
        "AttributeError: ",
    ),
    "a descriptor that was changed": (
        "from audiotag.plugin import LossSpec, hookimpl\nspec = LossSpec(name='odd', factory='math:sqrt')\n"
        "object.__setattr__(spec, 'name', ['odd'])\n@hookimpl\ndef register_losses(): return [spec]",
        "name must be a word, not ['odd']",
    ),
    "hook returns nothing": (
        "from audiotag.plugin import hookimpl\n@hookimpl\ndef register_losses(): pass",
        "register_losses",
    ),
    "hook returns one spec": (
        "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\n"
        "def register_losses(): return LossSpec(name='a', factory='a:b')",
        "Return a list",
    ),
    "hook returns other things": (
        "from audiotag.plugin import hookimpl\n@hookimpl\ndef register_losses(): return ['mse']",
        "'mse'",
    ),
    "hook returns another kind of spec": (
        "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\n"
        "def register_backbones(): return [LossSpec(name='a', factory='a:b')]",
        "BackboneSpec only",
    ),
    "spec is wrong": (
        "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\n"
        "def register_losses(): return [LossSpec(name='a', factory='a.b')]",
        "factory 'a.b' is not of the form",
    ),
    "older interface": ("AUDIOTAG_INTERFACE = 1", "pip install --upgrade audiotag-broken"),
    "an interface that is no number": ("AUDIOTAG_INTERFACE = '2'", "pip install --upgrade audiotag-broken"),
    "a field that there is not": (
        "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\n"
        "def register_losses(): return [LossSpec(name='a', factory='a:b', taks='x')]",
        "LossSpec 'a': there is no field 'taks'. Did you mean 'task'?",
    ),
    "a field that there is not, at import": (
        "from audiotag.plugin import Weights\nWeights(urls=('https://x',), filename='x.pt', shiny=1)",
        "Weights 'x.pt': there is no field 'shiny'. The fields are: urls, ",
    ),
    "a hook of a newer interface": (
        "from audiotag.plugin import hookimpl\nAUDIOTAG_INTERFACE = 3\n@hookimpl\ndef register_moods(): return []",
        "an unknown hook, 'register_moods'. Upgrade audiotag",
    ),
}


NET = {
    "name": "a", "family": "a", "factory": "a:b", "sample_rate": 8000, "clip_seconds": 1.0, "min_seconds": 0.1
}  # fmt: skip
WEIGHTS = {"urls": ("https://x",), "filename": "x.pt"}


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        (
            BackboneSpec,
            {**NET, "sample_rate": "8000"},
            "BackboneSpec 'a': sample_rate must be a whole number, not '8000'",
        ),
        (BackboneSpec, {**NET, "clip_seconds": "1"}, "clip_seconds must be a number, not '1'"),
        (BackboneSpec, {**NET, "name": 3}, "BackboneSpec 3: name must be a word"),
        (BackboneSpec, {**NET, "family": None}, "family must be a word, not None"),
        (BackboneSpec, {**NET, "factory": len}, "factory must be a word"),
        (BackboneSpec, {**NET, "summary": None}, "summary must be a word"),
        (BackboneSpec, {**NET, "options": 3}, "options must be a dict, not 3"),
        (BackboneSpec, {**NET, "figures": {"mAP": "0.5"}}, "figures must be a dict of numbers"),
        (BackboneSpec, {**NET, "inputs": "waveform"}, "inputs must be a list of words, not 'waveform'"),
        (BackboneSpec, {**NET, "weights": "https://x"}, "weights must be a Weights or none"),
        (BackboneSpec, {**NET, "single_label": 1}, "single_label must be true or false"),
        (DatasetSpec, {"name": "a", "factory": "a:b", "extensions": ".csv"}, "extensions must be a list of words"),
        (DatasetSpec, {"name": "a", "factory": "a:b", "remotes": ("https://x",)}, "remotes must be a list of Remotes"),
        (LossSpec, {"name": "a", "factory": "a:b", "task": ["multilabel"]}, r"task \['multilabel'\] is not known"),
        (CommandSpec, {"name": "a", "factory": "a:b", "group": 3}, "group must be a word"),
        (RecipeSpec, {"name": "a", "path": 3}, "path must be a word"),
        (Weights, {**WEIGHTS, "urls": "https://x"}, "Weights 'x.pt': urls must be a list of words"),
        (Weights, {**WEIGHTS, "filename": 3}, "filename must be a word"),
        (Weights, {**WEIGHTS, "bytes": "12"}, "bytes must be a whole number or none"),
    ],
)
def test_a_field_of_another_type_is_named(kind, fields, told):
    with pytest.raises(PluginError, match=told):
        kind(**fields)


def test_a_descriptor_is_read_only_and_can_be_handed_to_other_processes():
    shape = {"final_lr": 0.5}
    spec = ScheduleSpec(name="a", factory="a:b", shape=shape)
    shape["final_lr"] = 0.1
    back = pickle.loads(pickle.dumps(spec))
    assert back == spec and dict(back.shape) == {"final_lr": 0.5}
    for one in (spec, back):
        with pytest.raises(TypeError, match="does not support item assignment"):
            one.shape["final_lr"] = 0.1


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_set_aside_with_its_reason_and_the_rest_works(install_plugin, case):
    source, reason = BROKEN[case]
    install_plugin("audiotag-broken", source, entry="broken", version="2.1")
    install_plugin("audiotag-good", good())
    broken = record("broken")
    assert broken.status == "failed"
    assert reason in broken.problems[-1]
    assert broken.provides == {}
    assert broken.label == "audiotag-broken 2.1"
    assert get_host().loss("my_loss").name == "my_loss"
    assert get_host().loss("bce").name == "bce"
    assert [failed.name for failed in get_host().failures()] == ["broken"]


@pytest.mark.parametrize("case", BROKEN)
def test_strict_plugins_raise_instead(install_plugin, monkeypatch, case):
    install_plugin("audiotag-broken", BROKEN[case][0], entry="broken")
    monkeypatch.setenv("AUDIOTAG_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match=r"audiotag-broken 1\.0: the plugin 'broken' failed.*AUDIOTAG_STRICT_PLUGINS"):
        get_host()


def test_strictness_can_be_switched_off_by_value(install_plugin, monkeypatch):
    install_plugin("audiotag-broken", "1 / 0", entry="broken")
    monkeypatch.setenv("AUDIOTAG_STRICT_PLUGINS", "0")
    assert record("broken").status == "failed"


def test_a_missing_module_of_the_entry_point_is_a_failure(install_plugin):
    install_plugin("audiotag-broken", "", entry_line="broken = no_such_module.plugin")
    assert "no_such_module" in record("broken").problems[0]


def test_one_name_of_two_owners_names_both_and_serves_neither(install_plugin):
    install_plugin("audiotag-first", good("shared", "math:sqrt"))
    install_plugin("audiotag-second", good("shared", "math:exp"), version="3.0")
    host = get_host()
    with pytest.raises(
        NameTakenError, match=r"audiotag-first 1\.0 and audiotag-second 3\.0.*in full \('audiotag-first"
    ):
        host.loss("shared")
    assert "shared" not in host.losses
    for name in ("audiotag-first", "audiotag-second"):
        assert "audiotag-first 1.0 and audiotag-second 3.0" in record(name).problems[0]
        assert record(name).status == "loaded"


def test_a_name_in_full_means_that_of_the_distribution(install_plugin):
    install_plugin("audiotag-first", good("shared", "math:sqrt"))
    install_plugin("audiotag-second", good("shared", "math:exp"))
    install_plugin("audiotag-third", good("alone"))
    host = get_host()
    assert host.loss("audiotag-first:shared").factory == "math:sqrt"
    assert host.loss("Audiotag_Second:shared").factory == host.losses["audiotag-second:shared"].factory == "math:exp"
    assert host.loss("audiotag-third:alone") is host.loss("alone")
    assert host.loss("audiotag:bce") is host.loss("bce")
    assert "audiotag-third:alone" in host.losses and "audiotag-first:alone" not in host.losses
    assert {"alone", "audiotag-first:shared", "audiotag-second:shared"} <= set(host.losses)
    assert len(host.losses) == len(list(host.losses)) == len(set(host.losses))
    with pytest.raises(UnknownNameError, match=r"no loss 'audiotag-first:alone'"):
        host.loss("audiotag-first:alone")


def test_what_lies_on_disk_finds_the_one_that_made_it(install_plugin):
    install_plugin("audiotag-first", good("shared", "math:sqrt"))
    install_plugin("audiotag-second", good("shared", "math:exp"))
    for name, factory in (("audiotag-first", "math:sqrt"), ("audiotag-second", "math:exp")):
        assert needed("it", LossSpec, "shared", distribution=name, error=StoreError).factory == factory


def test_a_plugin_that_registers_a_name_twice_is_told(install_plugin):
    twice = "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\ndef register_losses():\n    return ["
    install_plugin("audiotag-twice", twice + "LossSpec(name='a', factory='math:sqrt')] * 2")
    for name in ("a", "audiotag-twice:a"):
        with pytest.raises(NameTakenError, match="registers it twice"):
            get_host().loss(name)


def test_a_name_of_the_core_means_the_core_and_that_is_said(install_plugin):
    install_plugin("audiotag-thief", good("bce"))
    host = get_host()
    with pytest.warns(
        AudiotagWarning, match=r"audiotag \S+ and audiotag-thief 1\.0.*audiotag's own.*'audiotag-thief:bce'"
    ):
        assert host.loss("bce").factory == "audiotag.training.losses:BinaryCrossEntropy"
    assert host.loss("bce") is host.losses["bce"], "said once"
    assert host.loss("audiotag-thief:bce").factory == "math:sqrt"
    assert "audiotag-thief:bce" in record("audiotag-thief").problems[0]
    assert not record("builtin").problems


def test_a_taken_name_raises_when_plugins_are_strict(install_plugin, monkeypatch):
    install_plugin("audiotag-first", good("shared"))
    install_plugin("audiotag-second", good("shared"))
    monkeypatch.setenv("AUDIOTAG_STRICT_PLUGINS", "yes")
    with pytest.raises(NameTakenError, match=r"'shared'"):
        get_host()


def test_two_distributions_may_give_their_entry_points_one_name(install_plugin):
    install_plugin("audiotag-first", good("first_loss"), entry="same")
    install_plugin("audiotag-second", good("second_loss"), entry="same")
    assert {"first_loss", "second_loss"} <= set(get_host().losses)


def test_the_allow_list_names_distributions_or_entry_points(install_plugin, monkeypatch):
    install_plugin("audiotag-first", good("first_loss"), entry="one")
    install_plugin("audiotag-second", good("second_loss"), entry="two")
    install_plugin("audiotag-third", "1 / 0", entry="three")
    monkeypatch.setenv("AUDIOTAG_LOAD_PLUGINS", "Audiotag_First, two")
    host = get_host()
    assert {"first_loss", "second_loss", "bce"} <= set(host.losses), "the core is always loaded"
    assert record("three").status == "skipped"
    assert record("three").problems == ["AUDIOTAG_LOAD_PLUGINS does not name it"]
    assert not list(host.failures())


def test_an_empty_allow_list_loads_the_core_alone(install_plugin, monkeypatch):
    install_plugin("audiotag-first", good("first_loss"))
    monkeypatch.setenv("AUDIOTAG_LOAD_PLUGINS", "")
    host = get_host()
    assert "bce" in host.losses and "first_loss" not in host.losses


def test_the_deny_list_leaves_out_plugins_and_never_the_core(install_plugin, monkeypatch):
    install_plugin("audiotag-first", good("first_loss"), entry="one")
    install_plugin("audiotag-second", "1 / 0", entry="two")
    monkeypatch.setenv("AUDIOTAG_SKIP_PLUGINS", "audiotag, builtin, Audiotag_Second")
    assert {"first_loss", "bce"} <= set(get_host().losses)
    assert record("two").status == "skipped" and record("two").problems == ["AUDIOTAG_SKIP_PLUGINS names it"]
    monkeypatch.setenv("AUDIOTAG_LOAD_PLUGINS", "one two")
    monkeypatch.setenv("AUDIOTAG_SKIP_PLUGINS", "one")
    reset_host()
    assert record("one").status == "skipped", "on both lists, it is left out"
    assert record("two").status == "failed"


NEWER = """
from audiotag.plugin import LossSpec, Weights, hookimpl
AUDIOTAG_INTERFACE = 3
WEIGHTS = Weights(urls=("https://x",), filename="x.pt", mirror="y")

@hookimpl
def register_losses():
    return [LossSpec(name="new", factory="math:sqrt", shiny=True)]

@hookimpl(optionalhook=True)
def register_moods(mood):
    return 1 / 0
"""


def test_what_a_newer_interface_has_more_is_left_out_and_said(install_plugin):
    install_plugin("audiotag-new", NEWER, entry="new")
    assert get_host().loss("new").name == "new"
    problems = "\n".join(record("new").problems)
    assert record("new").status == "loaded" and record("new").hooks == ["register_losses"]
    assert "built for version 3 of the plugin interface, and this audiotag has 2" in problems
    assert "Weights 'x.pt': there is no field 'mirror'" in problems and "LossSpec 'new': there is no field" in problems


def test_outside_the_host_a_field_that_there_is_not_is_an_error_at_once():
    with pytest.raises(PluginError, match=r"LossSpec 'a': there is no field 'taks'\. Did you mean 'task'"):
        LossSpec(name="a", factory="a:b", taks="x")


def test_a_slow_import_is_reported(install_plugin, monkeypatch):
    monkeypatch.setattr(host_loading, "SLOW_IMPORT_SECONDS", -1.0)
    install_plugin("audiotag-slow", good(), entry="slow")
    slow = record("slow")
    assert slow.status == "loaded"
    assert "should not import the implementation" in slow.problems[0]


def test_plugins_load_in_a_fixed_order_with_the_core_first(install_plugin):
    install_plugin("zzz-plugin", good("last"))
    install_plugin("aaa-plugin", good("first"))
    names = [record.distribution for record in get_host().plugins]
    assert names[0] == "audiotag"
    assert names[1:] == sorted(names[1:])
    assert names.index("aaa-plugin") < names.index("zzz-plugin")


def test_unknown_names_get_close_matches_and_where_to_look(install_plugin):
    install_plugin("audiotag-good", good("asymmetric_focal"))
    with pytest.raises(
        UnknownNameError, match=r"no loss 'asymetric_focal'.*Did you mean 'asymmetric_focal'.*plugins list"
    ):
        get_host().loss("asymetric_focal")


def test_unknown_names_mention_plugins_that_failed(install_plugin):
    install_plugin("audiotag-broken", "raise ValueError('torn')", entry="broken")
    with pytest.raises(UnknownNameError, match=r"failed to load: audiotag-broken 1\.0 \(ValueError: torn\)"):
        get_host().backbone("net_of_broken")


def test_names_of_our_plugins_say_what_to_install(monkeypatch, install_plugin):
    monkeypatch.setattr(host_loading, "entry_points", lambda group: ())
    host = get_host()
    for get, name, distribution in (
        (host.backbone, "mn10_as", "mobilenet-baseline"),
        (host.backbone, "psla.as_mdl_0", "psla"),
        (host.loss, "infonce", "equiav"),
        (host.recipe, "efficientat-fsd50k", "mobilenet-baseline"),
        (host.recipe, "convnext-audioset", "convnext"),
        (host.backbone, "ced-tiny", "ced"),
        (lambda name: host.command("equiav", name), "pretrain", "equiav"),
    ):
        with pytest.raises(UnknownNameError, match=rf"no \w+ '.*{name}'.*pip install audiotag-{distribution}"):
            get(name)
    with pytest.raises(UnknownNameError, match=r"no group of plugin commands .*pip install audiotag-equiav"):
        main(["x", "equiav", "pretrain"], standalone_mode=False)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.one)
def test_what_is_needed_and_gone_says_what_to_install(install_plugin, kind):
    def asked(distribution, release="1.0"):
        with pytest.raises(StoreError) as caught:
            needed("it", kind.spec, "lost", distribution=distribution, release=release, error=StoreError, where="place")
        assert caught.value.what.startswith(f"it needs the {kind.one} 'lost'") and caught.value.where == "place"
        return caught.value

    error = asked("audiotag-gone")
    assert f"the {kind.one} 'lost' of audiotag-gone 1.0: there is no" in error.what
    assert error.fix.startswith("Run: pip install 'audiotag-gone==1.0'. ")
    assert asked("audiotag-gone", "").fix.startswith("Run: pip install audiotag-gone. ")
    assert asked("", "").fix.startswith("Install the plugin that brings it. ")
    install_plugin("audiotag-torn", "raise ValueError('torn')", entry="torn")
    assert asked("audiotag-torn").fix.startswith("audiotag-torn 1.0 is installed, but it fails to load")
    assert "pip install 'audiotag-torn==0.9'" in asked("audiotag-torn", "0.9").fix


def test_what_is_needed_of_a_plugin_that_is_not_to_be_loaded(install_plugin, monkeypatch):
    install_plugin("audiotag-good", good())
    assert needed("it", LossSpec, "my_loss", distribution="audiotag-good", error=StoreError).name == "my_loss"
    monkeypatch.setenv("AUDIOTAG_LOAD_PLUGINS", "nothing")
    reset_host()
    with pytest.raises(
        StoreError, match=r"audiotag-good 1\.0 is installed, but AUDIOTAG_LOAD_PLUGINS does not name it"
    ):
        needed("it", LossSpec, "my_loss", distribution="audiotag-good", error=StoreError)
    monkeypatch.delenv("AUDIOTAG_LOAD_PLUGINS")
    install_plugin("audiotag-twin", good(), entry="twin")
    with pytest.raises(StoreError, match=r"registered by .* and .*uninstall one of them") as caught:
        needed("it", LossSpec, "my_loss", distribution="audiotag-gone", error=StoreError)
    assert "pip install audiotag-gone" not in str(caught.value)


@pytest.mark.parametrize("kind", ["backbone", "dataset", "loss", "sampling_policy"])
def test_every_kind_answers_unknown_names(install_plugin, kind):
    with pytest.raises(UnknownNameError, match=r"there is no .* 'nonesuch'"):
        getattr(get_host(), kind)("nonesuch")


@pytest.mark.parametrize(
    "name", ["losses", "sampling_policies", "optimisers", "schedules", "metrics", "writers", "outputs"]
)
def test_an_unknown_name_among_few_lists_them(install_plugin, name):
    kind = KINDS[name]
    with pytest.raises(UnknownNameError, match="There are: ") as caught:
        get_host().get(kind.spec, "nonesuch")
    assert all(known in str(caught.value) for known in get_host().registry(kind.spec))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("no_such_module:f", r"cannot be imported: ModuleNotFoundError.*pip install --force-reinstall audiotag-good"),
        ("math:no_such_function", r"cannot be imported: AttributeError"),
        ("math:pi", r"is not callable"),
        ("exploding_implementation:f", r"cannot be imported: RuntimeError: boom"),
        ("exiting_implementation:f", r"cannot be imported: SystemExit"),
    ],
)
def test_a_factory_that_does_not_work_names_the_distribution(install_plugin, plugin_folder, factory, message):
    (plugin_folder / "exploding_implementation.py").write_text("raise RuntimeError('boom')")
    (plugin_folder / "exiting_implementation.py").write_text("raise SystemExit(1)")
    install_plugin("audiotag-good", good(factory=factory))
    host = get_host()
    with pytest.raises(PluginError, match=rf"audiotag-good 1\.0: .*{message}"):
        host.resolve(host.loss("my_loss"))


def test_a_factory_that_works_is_imported_when_asked_for(install_plugin):
    install_plugin("audiotag-good", good(factory="math:sqrt"))
    host = get_host()
    spec = host.loss("my_loss")
    assert host.resolve(spec)(9.0) == 3.0
    assert host.owner(spec).distribution == "audiotag-good"


def test_a_descriptor_outlives_a_reload(install_plugin):
    install_plugin("audiotag-good", good())
    kept = get_host().loss("my_loss")
    reset_host()
    assert get_host().loss("my_loss") is not kept
    assert get_host().resolve(kept)(9.0) == 3.0
    assert get_host().owner(kept).distribution == "audiotag-good"


OPEN_FAMILY = """
from audiotag.errors import UnknownNameError
from audiotag.plugin import BackboneSpec, hookimpl

def spec(name, **more):
    return BackboneSpec(
        name=name, factory="math:sqrt", family="open", sample_rate=8000, clip_seconds=1.0, min_seconds=0.1, **more
    )

def resolve(name):
    rest = name.removeprefix("open.")
    if rest == "none":
        raise UnknownNameError(f"there is no {rest!r} in the open family")
    return spec("listed" if rest == "misnamed" else name, options={"width": len(rest)})

@hookimpl
def register_backbones():
    return [spec("open", resolver=RESOLVER), spec("open.listed"), spec("open.taken")]
"""


@pytest.fixture
def open_family(install_plugin):
    """A family with a resolver, installed as ``audiotag-open``."""
    install_plugin("audiotag-open", OPEN_FAMILY.replace("RESOLVER", "__name__ + ':resolve'"))


def test_a_family_may_resolve_names_that_nobody_registers(open_family):
    host = get_host()
    spec = host.backbone("open.wide")
    assert spec.options == {"width": 4}
    assert host.backbone("open.wide") is spec
    assert host.owner(spec).distribution == "audiotag-open"
    assert host.resolve(spec)(9.0) == 3.0
    assert host.knows_backbone("open.wide")
    assert "open.wide" not in host.backbones
    assert host.backbone("open.listed").options == {}


def test_a_resolver_may_refuse_a_name(open_family):
    with pytest.raises(UnknownNameError, match="no 'none' in the open family"):
        get_host().backbone("open.none")
    assert not get_host().knows_backbone("open.none")
    assert not get_host().knows_backbone("openly.none")


def test_a_resolver_does_not_take_a_name_that_two_claim(open_family, install_plugin):
    install_plugin("audiotag-rival", OPEN_FAMILY.replace('spec("open", resolver=RESOLVER), spec("open.listed"), ', ""))
    with pytest.raises(NameTakenError, match=r"audiotag-open.*audiotag-rival"):
        get_host().backbone("open.taken")


def test_a_broken_resolver_names_its_distribution(open_family):
    with pytest.raises(PluginError, match=r"audiotag-open 1\.0: .*'open.misnamed'.*BackboneSpec of that name"):
        get_host().backbone("open.misnamed")


def test_a_resolver_that_cannot_be_imported_names_its_distribution(install_plugin):
    install_plugin("audiotag-open", OPEN_FAMILY.replace("RESOLVER", "'no_such_module:f'"))
    with pytest.raises(PluginError, match=r"audiotag-open 1\.0: .*cannot be imported: ModuleNotFoundError"):
        get_host().backbone("open.wide")


def test_a_resolver_is_named_as_a_factory_is(install_plugin):
    install_plugin("audiotag-open", OPEN_FAMILY.replace("RESOLVER", "'resolve'"))
    (problem,) = (one.problems[0] for one in get_host().plugins if one.distribution == "audiotag-open")
    assert "resolver 'resolve' is not of the form" in problem


def test_the_host_is_made_once(install_plugin):
    install_plugin(
        "audiotag-counting",
        textwrap.dedent("""
            import os
            from audiotag.plugin import hookimpl

            @hookimpl
            def register_losses():
                os.environ["COUNTED"] = os.environ.get("COUNTED", "") + "x"
                return []
        """),
    )
    import os

    os.environ.pop("COUNTED", None)
    try:
        assert get_host() is get_host()
        assert get_host().losses == get_host().losses
        assert os.environ["COUNTED"] == "x"
    finally:
        os.environ.pop("COUNTED", None)


def test_records_are_plain_json(install_plugin):
    import json

    install_plugin("audiotag-good", good())
    plain = json.loads(json.dumps(record("audiotag-good").to_dict()))
    assert plain["provides"] == {"losses": ["my_loss"]}
    assert plain["hooks"] == ["register_losses"]
