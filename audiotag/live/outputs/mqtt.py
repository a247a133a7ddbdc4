"""Messages to a broker of MQTT, and what Home Assistant needs to show them."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from audiotag.documents import Fields, json_text, parse_json
from audiotag.errors import AudiotagError, OptionError, OutputError, needed_for
from audiotag.labels import Label
from audiotag.live.answers import take_answer
from audiotag.live.messages import Message, MessageKind
from audiotag.live.outputs.delivery import Delivery, NotDeliveredError
from audiotag.live.outputs.home_assistant import LEVEL, device_config, without_gone
from audiotag.live.outputs.names import Topics, plain_name
from audiotag.live.outputs.secrets import secret
from audiotag.live.outputs.settings import OutputSettings
from audiotag.seeding import numpy_generator

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

_CONNECTING_SECONDS = 5.0
"""How long a message waits for the connection before that counts as a failure."""

_ARRIVING_SECONDS = 10.0
"""How long a broker may take to say that it has a message."""

_LONGEST_AWAY = (30.0, 60.0)
"""Seconds between two tries to connect, after many; by chance, so that not all devices come back at once."""


@dataclass(frozen=True)
class Broker:
    """A broker and how to get in.

    Attributes:
        host: Its name or address.
        port: Its port.
        tls: What to make the connection safe with, or None.
        user: Whom to log in as, or None.
        password: Their password.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, address: str, login: str | None, ca: str | None, certificate: str | None) -> Broker:
        """The broker at *address*, ``HOST``, ``HOST:PORT`` or ``mqtts://HOST``.

        Args:
            address: Where it is; the port is 1883, or 8883 with TLS, unless given.
            login: File with ``USER:PASSWORD``; None for the environment's ``AUDIOTAG_MQTT_LOGIN``.
            ca: File with the certificates that are trusted, of a home's own broker for one; brings TLS.
            certificate: File with a certificate and its key that this device shows; brings TLS.

        Raises:
            OptionError: It is no such address.
            OutputError: A file cannot be read.
        """
        parts = urlsplit(address if "://" in address else f"mqtt://{address}")
        try:
            host, port = parts.hostname, parts.port
            (host or "").encode("idna")
        except ValueError:  # no port, or no name
            host = port = None
        if not host or parts.scheme not in ("mqtt", "mqtts") or parts.path.strip("/"):
            raise OptionError("this is no broker", where=address, fix="Give HOST, HOST:PORT or mqtts://HOST:PORT.")
        if parts.username is not None:
            raise OptionError(
                "a password on the command line can be read by everybody on the machine",
                where=host,
                fix="Write USER:PASSWORD into a file (--mqtt-login FILE) or into AUDIOTAG_MQTT_LOGIN.",
            )
        tls = _tls(ca, certificate) if parts.scheme == "mqtts" or ca or certificate else None
        user, _, password = (secret(login, "AUDIOTAG_MQTT_LOGIN") or "").partition(":")
        return cls(host, port or (1883 if tls is None else 8883), tls, user or None, password or None)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _tls(ca: str | None, certificate: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate)
    except OSError as error:  # ssl.SSLError is one
        raise OutputError(
            f"the certificate cannot be used: {error.strerror or error}",
            where=certificate or ca,
            fix="Give files in PEM, the device's with certificate and key.",
        ) from error
    return context


class MqttDelivery(Delivery):
    """Publishes every message with QoS 1, and counts it as delivered when the broker has acknowledged it.

    Topics, below the prefix: ``availability`` (``online``, or ``offline`` by last will), ``status`` and ``level``,
    ``event/CLASS`` (each begin and end as JSON), ``sound/CLASS`` (``ON`` while it lasts, retained). On ``label`` it
    takes ``{"id": EVENT, "labels": [NAME, …]}`` (`take_answer`), also what was sent while the device was away.

    Args:
        settings: The device.
        broker: See `Broker.of`.
        prefix: What topics begin with.  None for ``audiotag/DEVICE``.
        discovery: The topic under which Home Assistant looks for devices; empty for none.
        login: See `Broker.of`.
        ca: See `Broker.of`.
        certificate: See `Broker.of`.

    Raises:
        MissingExtraError: paho-mqtt is not installed.
        OptionError: There can be no such broker or prefix.
        OutputError: A file cannot be read.
    """

    name = "mqtt"
    kinds: Collection[MessageKind] = ("begin", "end", "status")
    longest_wait = 30.0

    def __init__(
        self,
        settings: OutputSettings,
        *,
        broker: str,
        prefix: str | None = None,
        discovery: str = "homeassistant",
        login: str | None = None,
        ca: str | None = None,
        certificate: str | None = None,
    ) -> None:
        self._broker = Broker.of(broker, login, ca, certificate)
        self._settings = settings
        node = f"audiotag_{_device_name(settings.device)}"
        prefix = f"audiotag/{_device_name(settings.device)}" if prefix is None else prefix.strip("/")
        if not prefix or any(sign in prefix for sign in "+#\0"):
            raise OptionError(f"{prefix!r} cannot begin a topic", fix="Leave out +, # and leading or closing slashes.")
        self._topics = Topics(prefix, settings.classes)
        self._config_topic = f"{discovery.strip('/')}/device/{node}/config" if discovery.strip("/") else None
        self._node, self._classes = node, list(settings.classes)
        self._config = self._device_config()
        self._lock = threading.Lock()
        self._sounding: dict[str, set[str]] = {self._topics.sound(label): set() for label in settings.classes}
        self._wrong_labels = 0
        self._connected = threading.Event()
        self._why = "it has not answered yet"
        self._client = self._make_client(node)

    def _make_client(self, node: str) -> Client:
        with needed_for("sending to MQTT"):
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion

        # A session of its own: the broker keeps labels for a device that is away.
        client = Client(CallbackAPIVersion.VERSION2, client_id=node, clean_session=False)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        if self._broker.user is not None:
            client.username_pw_set(self._broker.user, self._broker.password)
        client.will_set(self._topics.availability, "offline", qos=1, retain=True)
        longest = numpy_generator(self._settings.seed, "mqtt", node).uniform(*_LONGEST_AWAY)
        client.reconnect_delay_set(1, round(longest))
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def open(self) -> None:
        """Connect, and again whenever the connection is lost."""
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=30)
        self._client.loop_start()

    def deliver(self, message: Message, *, earlier: bool) -> None:
        """Publish *message*; what was told before this process began is an event, and no longer a state."""
        if not self._connected.wait(_CONNECTING_SECONDS):
            raise self._away(self._why)
        if message.label is None:
            publications = [(self._topics.status, message.to_json(), True)]
            if LEVEL in message.details:
                publications.append((self._topics.level, str(message.details[LEVEL]), True))
            self._publish_all(publications)
            return
        kind = message.kind if message.details.get("confirmed", True) or message.kind == "begin" else "unconfirmed"
        event = json_text({"event_type": kind, **message.fields()})
        publications = [(self._topics.event(message.label), event, False)]
        if not earlier:
            topic = self._topics.sound(message.label)
            publications.append((topic, self._state_after(message, topic), True))
        self._publish_all(publications)

    def add_class(self, label: Label) -> None:
        """See `Delivery.add_class`: homes are told at once."""
        self._topics.add(label)
        self._classes.append(label)
        with self._lock:
            self._sounding[self._topics.sound(label)] = set()
            self._config = self._device_config()
            if self._connected.is_set():
                self._client.publish(self._topics.sound(label), _state(set()), qos=1, retain=True)
                self._publish_config(self._config)

    def close(self) -> None:
        """Say that the device is offline, and leave."""
        if self._connected.is_set():
            offline = self._client.publish(self._topics.availability, "offline", qos=1, retain=True)
            with suppress(RuntimeError):  # the connection has just gone: the broker says it for us
                offline.wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()
        # They hold us, and we hold the client, which closes its last sockets when it goes.
        self._client.on_connect = self._client.on_connect_fail = None
        self._client.on_disconnect = self._client.on_message = None

    def problems(self) -> Mapping[str, int]:
        """How many labels could not be taken."""
        return {"labels that could not be taken": self._wrong_labels}

    def _state_after(self, message: Message, topic: str) -> str:
        with self._lock:
            sounding = self._sounding.setdefault(topic, set())
            (sounding.add if message.kind == "begin" else sounding.discard)(message.id)
            return _state(sounding)

    def _publish_all(self, publications: list[tuple[str, str, bool]]) -> None:
        sent = [self._client.publish(topic, text, qos=1, retain=retain) for topic, text, retain in publications]
        try:
            for one in sent:
                one.wait_for_publish(_ARRIVING_SECONDS)
            if not all(one.is_published() for one in sent):
                raise self._away("it does not acknowledge what is published")
        except (RuntimeError, ValueError) as error:
            raise self._away(str(error)) from error

    def _away(self, why: str) -> NotDeliveredError:
        return NotDeliveredError(f"the broker {self._broker} cannot be used: {why}.", after=0.0)

    # Called by paho in a thread of its own, which an exception would end.

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._why = f"it says: {reason}"
            return
        client.subscribe(self._topics.label, qos=1)
        client.publish(self._topics.availability, "online", qos=1, retain=True)
        if self._config_topic is not None:
            client.subscribe(self._config_topic, qos=1)  # what we said of ourselves the last time comes back
        with self._lock:
            for topic, sounding in self._sounding.items():  # a process that was killed has left some ON
                client.publish(topic, _state(sounding), qos=1, retain=True)
            self._publish_config(self._config)
            self._connected.set()

    def _on_connect_fail(self, client: Client, data: Any) -> None:
        self._why = "it cannot be reached"

    def _on_disconnect(self, client: Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._connected.clear()
        if not str(self._why).startswith("it says") or not reason.is_failure:
            self._why = f"the connection was lost ({reason})"

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        try:
            if message.topic == self._topics.label:
                self._take_label(bytes(message.payload))
            elif message.retain and message.topic == self._config_topic:
                self._take_away_gone(bytes(message.payload))
        except AudiotagError as error:
            self._wrong_labels += 1
            self._settings.tell(f"{self.name}: {error}")

    def _take_label(self, payload: bytes) -> None:
        fields = self._fields(payload)
        if self._settings.learn is None:
            raise OptionError(f"nobody learns from the label of {fields.text('id')!r}", where=self._topics.label)
        take_answer(fields, self._settings.learn)

    def _take_away_gone(self, payload: bytes) -> None:
        try:
            config = without_gone(self._config, self._fields(payload))
        except OptionError:
            return  # somebody else's, and ours is in its place now
        for one in (config, self._config) if config is not None else ():
            self._publish_config(one)

    def _device_config(self) -> dict[str, Any]:
        return device_config(self._node, self._settings.device, self._topics, self._classes)

    def _publish_config(self, config: Mapping[str, Any]) -> None:
        if self._config_topic is not None:
            self._client.publish(self._config_topic, json_text(config), qos=1, retain=True)

    def _fields(self, payload: bytes) -> Fields:
        text = payload.decode(errors="replace")
        where = self._topics.label
        return Fields(parse_json(text, where=where, error=OptionError), where=where, error=OptionError)


def _device_name(device: str) -> str:
    plain = plain_name(device)
    if not plain:
        raise OptionError(f"the device is called {device!r}", fix="Give it a name with letters or digits of ASCII.")
    return plain


def _state(sounding: set[str]) -> str:
    return "ON" if sounding else "OFF"
