"""MQTT with a real broker: what a home sees of a device, over restarts and losses of either."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from neighbours import BELL, Broker, Home, message, problems, until
from test_outputs import kill_at_random

from audiotag import Label
from audiotag.errors import OptionError, OutputError
from audiotag.live import Output
from audiotag.live.outputs import Delivery, OutputSettings, open_output
from audiotag.live.outputs.names import Topics, object_id, plain_name

KNOCK = Label("/m/07r4wb8", "Knock")
EVENT = "audiotag/hall_way/event/doorbell"
SOUND = "audiotag/hall_way/sound/doorbell"
AVAILABLE = "audiotag/hall_way/availability"
CONFIG = "homeassistant/device/audiotag_hall_way/config"
MakeHome = Callable[..., Home]


@pytest.fixture
def opener(tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Output]]:
    """Opens an output to a broker, closed at the end; *classes* and *learn* are the device's."""
    monkeypatch.setattr(Delivery, "longest_wait", 0.01)
    monkeypatch.setattr("audiotag.live.outputs.mqtt._LONGEST_AWAY", (1.0, 1.0))
    made: list[Output] = []

    def open(broker: str, classes: Any = (BELL, KNOCK), learn: Any = None, **options: Any) -> Output:
        settings = OutputSettings(tmp_path / "state", "Hall way", tuple(classes), tell=told.append, learn=learn)
        made.append(open_output("mqtt", settings, broker=broker, **options))
        return made[-1]

    yield open
    for one in made:
        one.close()


def test_a_home_hears_events_states_and_availability(
    opener: Callable[..., Output], broker: Broker, make_home: MakeHome
) -> None:
    home = make_home(broker)
    output = opener(broker.address)
    output.send(message(0))
    output.send(message(1))
    output.send(message(0, "end"))
    output.send(message(1, "end", clip=Path("clips/1.flac")))
    output.send(message(2, "status", details={"level_db": -41.5}))
    until(lambda: home.payloads("audiotag/hall_way/level"))
    assert home.events(EVENT) == ["e0-begin", "e1-begin", "e0-end", "e1-end"]
    assert home.payloads(SOUND) == ["OFF", "ON", "ON", "ON", "OFF"]  # it lasts until both have ended
    last = json.loads(home.payloads(EVENT)[-1])
    assert last["event_type"] == "end" and last["score"] == 0.75 and last["clip"] == "clips/1.flac"
    assert json.loads(home.payloads("audiotag/hall_way/status")[0])["details"] == {"level_db": -41.5}
    assert home.payloads("audiotag/hall_way/level") == ["-41.5"]
    assert home.payloads(AVAILABLE) == ["online"]
    output.close()
    until(lambda: home.payloads(AVAILABLE) == ["online", "offline"])
    late = make_home(broker)  # what is retained is known to who comes later: a home that starts anew
    until(lambda: len(late.heard) >= 6)
    topics = {topic for topic, _, retained in late.heard if retained}
    assert topics == {
        CONFIG,
        AVAILABLE,
        SOUND,
        "audiotag/hall_way/sound/knock",
        "audiotag/hall_way/status",
        "audiotag/hall_way/level",
    }


def test_home_assistant_finds_the_device(opener: Callable[..., Output], broker: Broker, make_home: MakeHome) -> None:
    home = make_home(broker)
    opener(broker.address)
    until(lambda: home.payloads(CONFIG))
    config = json.loads(home.payloads(CONFIG)[0])
    assert config["device"]["identifiers"] == ["audiotag_hall_way"] and config["device"]["name"] == "Hall way"
    assert config["origin"]["name"] == "audiotag" and config["availability_topic"] == AVAILABLE
    components = config["components"]
    assert set(components) == {"sound_m_03wwcy", "event_m_03wwcy", "sound_m_07r4wb8", "event_m_07r4wb8", "level"}
    sound, event, level = components["sound_m_03wwcy"], components["event_m_03wwcy"], components["level"]
    assert (sound["platform"], sound["state_topic"], sound["name"]) == ("binary_sensor", SOUND, "Doorbell")
    assert (event["platform"], event["state_topic"]) == ("event", EVENT)
    assert event["event_types"] == ["begin", "end", "unconfirmed"]
    assert level["platform"] == "sensor" and level["state_topic"] == "audiotag/hall_way/level"
    ids = [one["unique_id"] for one in components.values()]
    assert len(ids) == len({*ids}) and all(one.startswith("audiotag_hall_way_") for one in ids)


def test_what_was_told_early_and_was_nothing_is_no_end(
    opener: Callable[..., Output], broker: Broker, make_home: MakeHome
) -> None:
    home = make_home(broker)
    output = opener(broker.address)
    for number, confirmed in enumerate((True, False)):
        output.send(message(number, details={"confirmed": False}))
        output.send(message(number, "end", details={"confirmed": confirmed}))
    until(lambda: len(home.payloads(EVENT)) == 4)
    kinds = [json.loads(payload)["event_type"] for payload in home.payloads(EVENT)]
    assert kinds == ["begin", "end", "begin", "unconfirmed"]
    until(lambda: home.payloads(SOUND)[-1] == "OFF")


def test_classes_that_are_gone_disappear_from_the_home(
    opener: Callable[..., Output], broker: Broker, make_home: MakeHome
) -> None:
    home = make_home(broker)
    output = opener(broker.address)
    until(lambda: home.payloads(CONFIG))
    output.close()
    opener(broker.address, classes=[BELL])
    until(lambda: len(home.payloads(CONFIG)) == 4)
    first, second, removal, last = map(json.loads, home.payloads(CONFIG))
    assert removal["components"]["sound_m_07r4wb8"] == {"platform": "binary_sensor"}
    assert removal["components"]["event_m_07r4wb8"] == {"platform": "event"}
    assert last == second and set(last["components"]) == {"sound_m_03wwcy", "event_m_03wwcy", "level"}
    for name, one in last["components"].items():  # the others are the same ones as before
        assert one == first["components"][name] == removal["components"][name]


def test_discovery_can_be_off_and_topics_begin_otherwise(
    opener: Callable[..., Output], broker: Broker, make_home: MakeHome
) -> None:
    home = make_home(broker)
    opener(broker.address, discovery="", prefix="flat/ear/").send(message(0))
    until(lambda: home.payloads("flat/ear/event/doorbell"))
    assert not [topic for topic, *_ in home.heard if "config" in topic]


def test_a_broker_that_goes_away_and_comes_back(
    opener: Callable[..., Output], make_broker: Callable[..., Broker], make_home: MakeHome, told: list[str]
) -> None:
    broker = make_broker()
    home = make_home(broker)
    output = opener(broker.address)
    sent = []
    for turn in range(2):
        for number in range(20 * turn, 20 * turn + 10):
            output.send(message(number))
        broker.stop()
        for number in range(20 * turn + 10, 20 * turn + 20):
            output.send(message(number))
        broker.start()
        sent += [f"e{number}-begin" for number in range(20 * turn, 20 * turn + 20)]
    until(lambda: len(home.events(EVENT)) == 40)
    assert home.events(EVENT) == sent
    until(lambda: home.payloads(AVAILABLE)[-1] == "online")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP")
def test_a_broker_that_hangs_gets_it_again(
    opener: Callable[..., Output],
    broker: Broker,
    make_home: MakeHome,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("audiotag.live.outputs.mqtt._ARRIVING_SECONDS", 0.1)
    home = make_home(broker)
    output = opener(broker.address)
    until(lambda: home.payloads(AVAILABLE) == ["online"])
    broker.signal(signal.SIGSTOP)
    output.send(message(0))
    output.send(message(1))
    until(lambda: told)
    assert "does not acknowledge" in told[0] and problems(output)["waiting"] == 2
    broker.signal(signal.SIGCONT)
    until(lambda: home.events(EVENT) == ["e0-begin", "e1-begin"])
    until(lambda: "waiting" not in problems(output))


def test_a_device_may_start_before_its_broker(
    opener: Callable[..., Output],
    make_broker: Callable[..., Broker],
    make_home: MakeHome,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("audiotag.live.outputs.mqtt._CONNECTING_SECONDS", 0.05)
    broker = make_broker()
    broker.stop()
    output = opener(broker.address)
    output.send(message(0))
    until(lambda: told)
    assert "cannot be reached" in told[0] and problems(output)["waiting"] == 1
    broker.start()
    home = make_home(broker)
    until(lambda: home.events(EVENT) == ["e0-begin"])
    until(lambda: any("well again" in line for line in told))


def test_a_password_comes_from_a_file_or_the_environment(
    opener: Callable[..., Output],
    make_broker: Callable[..., Broker],
    make_home: MakeHome,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch(0o600)
    subprocess.run(["mosquitto_passwd", "-b", passwords, "ear", "se:same"], check=True, capture_output=True)
    broker = make_broker("allow_anonymous false", f"password_file {passwords}")
    monkeypatch.setattr("audiotag.live.outputs.mqtt._CONNECTING_SECONDS", 0.2)
    output = opener(broker.address)
    output.send(message(0))
    until(lambda: any("Not authorized" in line for line in told))
    output.close()
    (tmp_path / "login").write_text("ear:se:same\n")
    output = opener(broker.address, login=str(tmp_path / "login"))
    until(lambda: not problems(output).get("waiting"))
    output.close()
    monkeypatch.setenv("AUDIOTAG_MQTT_LOGIN", "ear:se:same")
    output = opener(broker.address)
    output.send(message(1))
    until(lambda: not problems(output).get("waiting"))
    with pytest.raises(OutputError, match="nowhere"):
        opener(broker.address, login="nowhere")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of paho's refused connections
def test_a_connection_is_safe_with_a_certificate_of_ones_own(
    opener: Callable[..., Output],
    make_broker: Callable[..., Broker],
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate, key = tmp_path / "home.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-out", certificate, "-keyout", key, *subject]
    subprocess.run(made, check=True, capture_output=True)
    broker = make_broker("allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    output = opener(broker.address, ca=str(certificate))
    output.send(message(0))
    until(lambda: not problems(output).get("waiting"))
    output.close()
    monkeypatch.setattr("audiotag.live.outputs.mqtt._CONNECTING_SECONDS", 0.5)
    output = opener(f"mqtts://{broker.address}")  # which the system does not trust
    output.send(message(1))
    until(lambda: told)
    assert "cannot be reached" in told[0]
    with pytest.raises(OutputError, match=r"key\.pem"):
        opener(broker.address, certificate=str(key))


def test_labels_arrive_also_those_sent_while_the_device_is_away(
    opener: Callable[..., Output], broker: Broker, make_home: MakeHome, told: list[str]
) -> None:
    learned: list[tuple[str, list[str]]] = []

    def learn(event: str, labels: list[str]) -> None:
        if event == "unknown":
            raise OptionError("there is no such event", where=event)
        learned.append((event, labels))

    home = make_home(broker)
    output = opener(broker.address, learn=learn)
    until(lambda: home.payloads(AVAILABLE) == ["online"])
    topic = "audiotag/hall_way/label"
    for payload in (
        '{"id": "e1", "labels": ["Doorbell"]}',
        "{",
        '{"id": 1}',
        '{"id": "unknown", "labels": []}',
        b"\xff",
    ):
        home.client.publish(topic, payload, qos=1).wait_for_publish(10)
    home.client.publish(topic, '{"id": "e2", "labels": ["Knock", "Bell"]}', qos=1)
    until(lambda: len(learned) == 2)
    assert problems(output) == {"labels that could not be taken": 4} and len(told) == 4
    output.close()
    home.client.publish(topic, '{"id": "e3", "labels": []}', qos=1).wait_for_publish(10)
    opener(broker.address, learn=learn)
    until(lambda: len(learned) == 3)
    assert learned == [("e1", ["Doorbell"]), ("e2", ["Knock", "Bell"]), ("e3", [])]


def test_a_label_that_nobody_learns_from_is_told(
    opener: Callable[..., Output], broker: Broker, make_home: MakeHome, told: list[str]
) -> None:
    home = make_home(broker)
    opener(broker.address)
    until(lambda: home.payloads(AVAILABLE) == ["online"])
    home.client.publish("audiotag/hall_way/label", '{"id": "e1", "labels": []}', qos=1)
    until(lambda: told)
    assert "nobody learns" in told[0]


def _device(tmp_path: Path, broker: Broker, first: int, count: int) -> subprocess.Popen[str]:
    begin = [sys.executable, str(Path(__file__).with_name("sender.py")), "mqtt", str(tmp_path / "killed")]
    options = json.dumps({"broker": broker.address})
    return subprocess.Popen([*begin, options, str(first), str(count)], stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_device_is_offline_and_what_it_left_on_is_off_after_its_start(
    broker: Broker, make_home: MakeHome, tmp_path: Path
) -> None:
    home = make_home(broker)
    sound, available = "audiotag/audiotag/sound/doorbell", "audiotag/audiotag/availability"
    with _device(tmp_path, broker, 0, 1) as process:
        until(lambda: "ON" in home.payloads(sound))
        assert process.stdout is not None
        process.send_signal(signal.SIGSTOP)  # it has not closed yet, or is about to
        process.send_signal(signal.SIGKILL)
    until(lambda: home.payloads(available)[-1] == "offline")
    with _device(tmp_path, broker, 2, 2) as process:
        process.wait(20)
    assert home.payloads(sound)[-3:] == ["OFF", "ON", "OFF"]


def test_what_waited_from_before_is_an_event_and_no_state(
    opener: Callable[..., Output],
    make_broker: Callable[..., Broker],
    make_home: MakeHome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("audiotag.live.outputs.mqtt._CONNECTING_SECONDS", 0.05)
    broker = make_broker()
    broker.stop()
    output = opener(broker.address)
    output.send(message(0))
    output.close()
    broker.start()
    home = make_home(broker)
    output = opener(broker.address)
    output.send(message(1))
    until(lambda: home.events(EVENT) == ["e0-begin", "e1-begin"])
    until(lambda: home.payloads(SOUND) == ["OFF", "ON"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_lost_when_device_and_broker_die(
    make_broker: Callable[..., Broker], make_home: MakeHome, tmp_path: Path, seed: int
) -> None:
    broker = make_broker()
    home = make_home(broker)
    accepted = kill_at_random("mqtt", tmp_path / "state", {"broker": broker.address}, seed, kills=6)
    topic = "audiotag/audiotag/event/doorbell"
    until(lambda: accepted[-1] in home.events(topic))
    arrived = home.events(topic)
    assert len(accepted) > 50 and not set(accepted) - set(arrived)
    numbers = [2 * int(key[1:].partition("-")[0]) + key.endswith("end") for key in arrived]
    assert numbers == sorted(numbers)


def test_names_are_plain_and_different() -> None:
    assert plain_name("Türklingel, laut!") == "turklingel_laut" and plain_name("門鈴") == ""
    labels = [
        Label("/m/1", "Bell"),
        Label("/m/2", "Bell!"),
        Label("門鈴", "門鈴"),
        Label("門", "門"),
        Label("Tür", "Tür"),
    ]
    assert object_id(labels[0]) == "m_1"
    assert len({object_id(one) for one in labels}) == 5
    topics = Topics("a", labels)
    found = [topics.event(one) for one in labels]
    assert found[:2] == ["a/event/bell_m_1", "a/event/bell_m_2"] and found[4] == "a/event/tur"
    assert len({*found}) == 5 and all(one.isascii() and not {*"+#"} & {*one} for one in found)


def test_a_device_without_letters_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt")
    with pytest.raises(OptionError, match="門鈴"):
        open_output("mqtt", OutputSettings(tmp_path, "門鈴"), broker="there")
