"""Settings of the agent: flags, then environment ``DERMAFLEET_AGENT_*``, then a TOML file, then defaults.

``DERMAFLEET_AGENT_MQTT_URL_FILE`` and the like read a value from a file, for secrets.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from dermafleet.contracts.records import Privacy
from dermafleet.contracts.topics import DEFAULT_PREFIX, Topics, check_segment
from dermafleet.errors import SettingError
from dermafleet.mqtt import parse_url
from device_agent.publisher import Link
from device_agent.recorder import Rates
from device_agent.sessions import SessionRules
from device_agent.window import Pace

DEFAULT_FILE = Path("/etc/dermafleet/agent.toml")

MEANINGS = {
    "device_id": "the machine's id, usually the serial number on its plate",
    "mqtt_url": "mqtt://user:password@host:port or mqtts://…; several, by commas: the next when one gives no acks",
    "ca_file": "authority of the broker's certificate, if it is not one of the system's",
    "topic_prefix": "as in the server's settings",
    "data_dir": "where the outbox is",
    "seed": "of the simulated machine",
    "quality": "of the wall clock while it is set; holdover where nothing disciplines it",
    "rate_hz": "samples per second while the pump runs",
    "after_s": "full rate this long after the pump stopped",
    "idle_s": "one sample in this time otherwise; 0 keeps all",
    "flush_s": "a block of samples is closed at this age",
    "session_off_s": "a session is over when the pump was off this long",
    "over_vacuum_kpa": "the machine's vacuum limit at the handpiece",
    "privacy": "machine-only, or coded where the clinic has agreed to keep indications as codes",
    "outbox_mb": "budget on disk; less is used where the disk is small",
    "keep_acked_h": "acknowledged entries stay this long, to fill a server restored from a backup",
    "ack_timeout_s": "an entry is sent again when no ack came in this time",
    "silence_s": "the next broker is tried when there was no ack for so long",
    "hold_s": "how long a server's hold lasts that does not say",
    "status_s": "at least one status in this time",
    "reconnect_max_s": "longest pause between attempts to connect",
    "stop_s": "how long a stop may take",
}
"""What each setting means, in one line."""

_ENV = "DERMAFLEET_AGENT_"
_FILE_SUFFIX = "_FILE"

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set on a machine; what each means is in `MEANINGS`."""

    device_id: str = ""
    mqtt_url: str = ""
    ca_file: Path | None = None
    topic_prefix: str = DEFAULT_PREFIX
    data_dir: Path = Path("/var/lib/dermafleet")
    seed: int = 1
    quality: Literal["synced", "holdover"] = "synced"

    rate_hz: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 10.0
    after_s: NotNegative = 10.0
    idle_s: NotNegative = 60.0
    flush_s: Positive = 2.0
    session_off_s: Positive = 300.0
    over_vacuum_kpa: Positive = 65.0
    privacy: Privacy = "machine-only"

    outbox_mb: Annotated[float, msgspec.Meta(ge=1)] = 256.0
    keep_acked_h: NotNegative = 48.0

    ack_timeout_s: Positive = 10.0
    silence_s: Positive = 60.0
    hold_s: Positive = 30.0
    status_s: Positive = 30.0
    reconnect_max_s: Positive = 60.0
    stop_s: Positive = 10.0

    def rates(self) -> Rates:
        return Rates(after_s=self.after_s, idle_s=self.idle_s, flush_s=self.flush_s)

    def session_rules(self) -> SessionRules:
        return SessionRules(
            off_ms=round(self.session_off_s * 1000), over_vacuum_kpa=self.over_vacuum_kpa, privacy=self.privacy
        )

    def link(self, device_id: str, mqtt_url: str) -> Link:
        """How this device reaches its server.

        Raises:
            SettingError: the device id or a URL is missing or wrong.
        """
        setting = f"mqtt_url ({_ENV}MQTT_URL)"
        urls = [url.strip() for url in mqtt_url.split(",") if url.strip()]
        if not urls:
            raise SettingError(f"{setting}: is not set; for example mqtt://user:password@host:1883")
        if not device_id:
            raise SettingError(f"device_id ({_ENV}DEVICE_ID): is not set; usually the serial number on the plate")
        return Link(
            device_id=check_segment(device_id, "device_id"),
            brokers=tuple(parse_url(url, setting) for url in urls),
            topics=Topics(self.topic_prefix),
            ca_file=self.ca_file,
            pace=Pace(
                timeout_s=self.ack_timeout_s,
                timeout_max_s=max(300.0, self.ack_timeout_s),
                silence_s=self.silence_s,
                hold_s=self.hold_s,
            ),
            status_s=self.status_s,
            reconnect_s=(min(1.0, self.reconnect_max_s), self.reconnect_max_s),
        )

    def outbox_bytes(self) -> int:
        return int(self.outbox_mb * 1024 * 1024)

    def keep_acked_ms(self) -> int:
        return int(self.keep_acked_h * 3_600_000)


def load(
    flags: Mapping[str, Any],  # argparse gives what it parsed
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings from all sources; ``flags`` that are None were not given. ``file`` None: the default one, if it exists.

    Raises:
        SettingError: a setting is wrong; the message names it and where it was set.
    """
    values = _checked(dict(defaults or {}), "defaults")
    values |= _from_file(file)
    values |= _from_environment(os.environ if environ is None else environ)
    values |= _checked({k: str(v) for k, v in flags.items() if v is not None}, "", prefix="--")
    return Settings(**values)


def _from_file(file: Path | None) -> dict[str, Any]:
    path = file or DEFAULT_FILE
    if file is None and not path.exists():
        return {}
    try:
        return _checked(tomllib.loads(path.read_text()), str(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path}: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        variable = _ENV + name.upper()
        if variable in environ:
            values |= _checked({name: environ[variable]}, variable, named=False)
        elif path := environ.get(variable + _FILE_SUFFIX):
            try:
                values |= _checked({name: Path(path).read_text().strip()}, variable, named=False)
            except OSError as error:
                raise SettingError(f"{variable}{_FILE_SUFFIX}: {path}: {error.strerror}") from error
    return values


def _checked(raw: Mapping[str, Any], where: str, *, prefix: str = "", named: bool = True) -> dict[str, Any]:
    """Each value as its setting's type; an error names the setting and where it stood."""
    types = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    for name, value in raw.items():
        shown = prefix + (name.replace("_", "-") if prefix else name)
        place = ": ".join(part for part in (where, shown if named else "") if part)
        if name not in types:
            raise SettingError(f"{place}: there is no such setting")
        try:
            values[name] = msgspec.convert(value, types[name], strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise SettingError(f"{place}: {str(error)[:1].lower()}{str(error)[1:]}") from error
    return values


def _path(wanted: type, value: object) -> Path:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError
