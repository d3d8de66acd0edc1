"""Connecting to a broker: one URL, one way to make a client. Used by ingest and by the agent.

MQTT 3.1.1 everywhere: any broker speaks it, and nothing here needs more.
"""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from dermafleet.errors import SettingError

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker listens and who we are to it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    websocket_path: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_url(url: str, setting: str = "MQTT URL") -> Broker:
    """Read ``mqtt[s]://user:password@host:port`` or ``ws[s]://…/path``; user and password percent-encoded.

    Raises:
        SettingError: it is no such URL; the message begins with ``setting``, where it came from.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # it may quote a part of the password
        reason = "host or port is wrong; percent-encode what is special in the password"
        raise SettingError(f"{setting}: {reason}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise SettingError(f"{setting}: must be like mqtt://user:password@host:1883, with {', '.join(_DEFAULT_PORTS)}")
    return Broker(
        host=parts.hostname,
        port=port or _DEFAULT_PORTS[parts.scheme],
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme in ("mqtts", "wss"),
        websocket_path=(parts.path or "/mqtt") if parts.scheme in ("ws", "wss") else None,
    )


def make_client(broker: Broker, client_id: str, *, ca_file: Path | None = None) -> Client:
    """A paho client with a clean session, ready to connect; callbacks and threads are the caller's business."""
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=True,
        protocol=MQTTv311,
        transport="websockets" if broker.websocket_path else "tcp",
    )
    if broker.websocket_path:
        client.ws_set_options(path=broker.websocket_path)
    if broker.username:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls:
        client.tls_set(ca_certs=str(ca_file) if ca_file else None)
    return client
