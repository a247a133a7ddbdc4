"""Code of plugins is run in one way: what it raises names the plugin, what it prints stays off standard output."""

import gc
import io
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref

import pytest
import torch
from click.testing import CliRunner

from audiotag.cli.main import main
from audiotag.errors import MissingExtraError, OptionError, PluginError
from audiotag.host import get_host
from audiotag.host.guard import is_interrupt, plugin_code


class Odd(BaseException):
    """What no ``except Exception`` catches."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no"), "ValueError: no"),
        (SystemExit(9), "SystemExit: 9"),
        (Odd("so"), "Odd: so"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (RecursionError("deep"), "RecursionError: deep"),
    ],
)
def test_whatever_is_raised_names_the_plugin(error, told):
    expected = rf"^plugin 'odd' of odd 1\.0: counting failed: {told}\. Report it"
    with pytest.raises(PluginError, match=expected), plugin_code("plugin 'odd' of odd 1.0", "counting"):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("large"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_lack_of_memory_is_no_fault_of_a_plugin(error, monkeypatch):
    with pytest.raises(type(error)) as caught, plugin_code("plugin 'odd' of odd 1.0", "counting"):
        raise error
    assert caught.value is error
    monkeypatch.setattr("audiotag.host.host.Host.load_all", lambda host: (_ for _ in ()).throw(error))
    with pytest.raises(OptionError, match=r"there is not enough memory \(.*--batch-size"):
        CliRunner().invoke(main, ["plugins", "list"], catch_exceptions=False)


class Unspeakable(Exception):
    """Cannot even be shown."""

    def __str__(self):
        raise SystemExit(7)


@pytest.mark.parametrize(
    ("error", "told"), [(Unspeakable(), "failed: Unspeakable. Report"), (ValueError("x" * 10**6), "xxx …. Report")]
)
def test_an_error_is_told_whatever_its_text_does(error, told):
    with pytest.raises(PluginError) as caught, plugin_code("plugin", "counting"):
        raise error
    assert told in str(caught.value) and len(str(caught.value)) < 3000


def test_a_plugin_may_refuse_what_it_is_given():
    with pytest.raises(OptionError, match=r"^too wide\.$"), plugin_code("plugin", "counting"):
        raise OptionError("too wide")


def test_a_real_interrupt_passes_and_says_who_was_running():
    with pytest.raises(KeyboardInterrupt) as caught, plugin_code("plugin 'odd' of odd 1.0", "counting"):
        signal.raise_signal(signal.SIGINT)
    assert caught.value.__notes__ == ["Interrupted in the plugin 'odd' of odd 1.0 (counting)."]
    assert is_interrupt(caught.value)


def test_an_interrupt_that_a_plugin_catches_and_raises_again_is_still_one():
    def impatient():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise

    with pytest.raises(KeyboardInterrupt), plugin_code("plugin", "counting"):
        impatient()


def test_prints_go_to_standard_error_and_those_of_others_do_not(capsys):
    inside, done = threading.Event(), threading.Event()

    def work():
        with plugin_code("plugin", "counting"):
            print("of the plugin")
            inside.set()
            done.wait(10)
            sys.stdout.write("and more\n")

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    print("a result")
    with plugin_code("plugin", "counting"), plugin_code("plugin", "within"):
        print("of another")
    print("a second result")
    done.set()
    thread.join()
    print("a third")
    out, err = capsys.readouterr()
    assert out == "a result\na second result\na third\n"
    assert err == "of the plugin\nof another\nand more\n"


def test_a_stream_that_a_plugin_puts_in_the_place_of_standard_output_takes_no_results(capsys):
    with plugin_code("plugin", "counting"):
        sys.stdout = io.StringIO()
        with plugin_code("plugin", "within"):
            sys.stdout = io.StringIO()
        print("of the plugin")
    print("a result")
    assert capsys.readouterr().out == "a result\n"


def test_one_guard_serves_any_number_of_runs(capsys):
    guard = plugin_code("plugin", "counting")
    for _ in range(2):
        with pytest.raises(PluginError), guard, guard:
            print("of the plugin")
            raise SystemExit(3)
    print("a result")
    assert capsys.readouterr() == ("a result\n", "of the plugin\n" * 2)


def test_without_standard_output_nothing_breaks(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with plugin_code("plugin", "counting"):
        print("to nobody")


LAZY = """
from pathlib import Path
from audiotag.plugin import LossSpec, RecipeSpec, SamplingPolicySpec, hookimpl
print("imported")

@hookimpl
def register_losses():
    raise RuntimeError("the losses are at sea")

@hookimpl
def register_sampling_policies():
    return [SamplingPolicySpec(name="odd", factory="math:sqrt", role="training")]
"""


def test_a_hook_runs_when_its_kind_is_needed_only(install_plugin):
    install_plugin("audiotag-odd", LAZY, entry="odd")
    host = get_host()
    heard = []
    host.tell_failures(lambda record: heard.append((record.name, record.reason)))
    assert "odd" in host.sampling_policies and host.recipes is not None
    assert heard == [] and not list(host.failures())
    assert "odd" not in host.losses and "bce" in host.losses
    assert heard == [("odd", "RuntimeError: the losses are at sea")]
    assert "odd" in host.sampling_policies, "one hook's failure is not another's"
    assert len(heard) == 1


IMPLEMENTATION = """
import sys

class Loss:
    def __init__(self, **options):
        print("made")
        ACTION
"""


@pytest.mark.parametrize(
    ("action", "told"),
    [("1 / 0", "ZeroDivisionError"), ("sys.exit(9)", "SystemExit: 9"), ("raise KeyboardInterrupt", "K")],
)
def test_a_factory_that_fails_names_the_plugin(install_plugin, plugin_folder, capsys, action, told):
    (plugin_folder / "odd_implementation.py").write_text(IMPLEMENTATION.replace("ACTION", action))
    install_plugin(
        "audiotag-odd",
        "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\ndef register_losses():\n"
        "    return [LossSpec(name='odd', factory='odd_implementation:Loss')]",
        entry="odd",
    )
    with pytest.raises(PluginError, match=rf"^plugin 'odd' of audiotag-odd 1\.0: making 'odd' failed: {told}"):
        get_host().make(get_host().loss("odd"))
    sys.modules.pop("odd_implementation")
    assert capsys.readouterr().out == ""


def test_a_plugin_that_lacks_what_an_extra_brings_is_no_broken_plugin(install_plugin, plugin_folder, monkeypatch):
    (plugin_folder / "owl_ears.py").write_text("import h5py")
    install_plugin(
        "audiotag-odd",
        "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\ndef register_losses():\n"
        "    return [LossSpec(name='odd', factory='owl_ears:Loss')]",
        entry="odd",
    )
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        MissingExtraError,
        match=r"^plugin 'odd' of audiotag-odd 1\.0: importing 'owl_ears:Loss' needs the package 'h5py', which is not "
        r"installed\. Install it with: pip install 'audiotag\[hdf5\]'$",
    ):
        get_host().resolve(get_host().loss("odd"))


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_what_a_plugin_does_to_all_warnings_holds_for_itself_only(install_plugin, plugin_folder, action):
    drastic = f"import math, warnings\nwarnings.simplefilter({action!r})\n"
    (plugin_folder / f"drastic_{action}.py").write_text(drastic)
    hook = f"    return [LossSpec(name='odd_loss', factory='drastic_{action}:math.sqrt')]\n"
    source = "from audiotag.plugin import LossSpec, hookimpl\n@hookimpl\ndef register_losses():\n"
    install_plugin("audiotag-odd", drastic + source + hook)
    before = list(warnings.filters)
    host = get_host()
    assert host.resolve(host.loss("odd_loss"))(9) == 3
    assert warnings.filters == before


def test_an_error_is_blamed_on_the_plugin_whose_code_raised_it(install_plugin, plugin_folder):
    source = "from audiotag.errors import suggest\ndef fail(): return 1 / 0\ndef misuse(): return suggest('a', 0)\n"
    module = install_plugin("audiotag-odd", source, entry="odd")
    get_host().load_all()
    for action, blamed in (("fail", "odd"), ("misuse", None)):
        with pytest.raises((ZeroDivisionError, TypeError)) as caught:
            getattr(sys.modules[module], action)()
        found = get_host().blame(caught.value)
        assert (found and found.name) == blamed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_hook_is_named(install_plugin, plugin_folder, tmp_path, number):
    install_plugin(
        "audiotag-odd",
        "import time\nfrom pathlib import Path\nfrom audiotag.plugin import hookimpl\n@hookimpl\n"
        f"def register_backbones():\n    Path({str(tmp_path / 'begun')!r}).touch()\n    time.sleep(60)\n    return []",
        entry="odd",
    )
    program = "from audiotag.cli.main import run; run()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "models", "list"],
        env={"PYTHONPATH": str(plugin_folder), "PATH": ""},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for _ in range(4000):
            if (tmp_path / "begun").exists():
                break
            time.sleep(0.05)
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    assert "Interrupted in the plugin 'odd' of audiotag-odd 1.0 (register_backbones)." in told
    assert process.returncode == 128 + number and "Traceback" not in told


@pytest.mark.parametrize("metadata", [None, "", "\xff\xfe", "Name: \n"])
def test_damaged_metadata_fails_one_plugin_only(install_plugin, plugin_folder, metadata):
    install_plugin("audiotag-odd", "", entry="odd")
    (info,) = plugin_folder.glob("*.dist-info")
    (info / "METADATA").unlink()
    if metadata is not None:
        (info / "METADATA").write_bytes(metadata.encode("latin-1"))
    install_plugin("audiotag-good", "", entry="good")
    records = {record.name: record for record in get_host().plugins}
    assert records["odd"].status == "failed" and "pip install --force-reinstall" in records["odd"].problems[0]
    assert records["good"].status == records["builtin"].status == "loaded"


def test_what_stands_in_for_standard_output_stays_alive():
    """A thread that prints holds it without counting: were it freed when another thread is done, Python would crash."""
    code = plugin_code("who", "doing")
    with code:
        first = weakref.ref(sys.stdout)
    gc.collect()
    assert first() is not None
    with code:
        assert sys.stdout is first()
