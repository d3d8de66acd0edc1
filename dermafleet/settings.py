"""Settings of the server's processes: environment ``DERMAFLEET_*``, one frozen object per process.

Secrets may come from files: ``DERMAFLEET_DATABASE_URL_FILE=/run/secrets/url`` stands for ``DERMAFLEET_DATABASE_URL``.
The agent has settings of its own (`device_agent.settings`), because it runs without pydantic.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from dermafleet.contracts.envelope import DEFAULT_LIMITS, Limits
from dermafleet.contracts.topics import DEFAULT_PREFIX, SHARDS, Topics
from dermafleet.errors import SettingError

_PREFIX = "DERMAFLEET_"
_FILE_SUFFIX = "_FILE"


class Settings(BaseSettings):
    """Everything an operator can set. Each default carries its reason."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    database_url: SecretStr = SecretStr("")
    mqtt_url: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Brokers, separated by commas; ingest listens to all of them and the ledger removes the repeats."""

    topic_prefix: str = DEFAULT_PREFIX
    payload_bytes: int = Field(DEFAULT_LIMITS.payload_bytes, ge=1024, le=256 * 1024 * 1024)
    shards: str = SHARDS
    """Hex digits of the shards this ingest worker serves."""

    auto_approve: bool = False
    """Accept devices never seen before; for demos. Otherwise they are on hold until an operator approves them."""

    inbox_messages: int = Field(20_000, ge=100)
    inbox_bytes: int = Field(256 * 1024 * 1024, ge=1024 * 1024)
    """At either bound ingest unsubscribes: the devices' disks are the queue."""
    batch_entries: int = Field(500, ge=1)
    batch_wait_ms: int = Field(50, ge=0)
    """A batch closes when it is full or this old: commits cost more than rows."""
    quarantine_bytes: int = Field(256 * 1024 * 1024, ge=0)
    """Space for refused messages; when it is full, ingest stops refusing and devices keep their data."""

    hole_alarm_s: float = Field(900, gt=0)
    hole_lost_s: float = Field(86_400, gt=0)
    """A hole in a log blocks its evaluation: named after the first, declared lost after the second."""
    poll_ms: int = Field(200, ge=10)

    backtest_devices: int = Field(500, ge=1)
    backtest_days: float = Field(92, gt=0)
    """A rule is tried on a quarter at most: longer, and machines have been serviced and moved in between."""
    backtest_samples: int = Field(20_000_000, ge=1)
    """About five minutes of one core, spread over fifteen; what is left out is told."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(8000, ge=0, le=65535)
    login_hours: float = Field(12, gt=0)
    secure_cookies: bool = False
    """Set behind HTTPS; a browser sends such a cookie over HTTPS only."""

    metrics_port: int | None = Field(None, ge=0, le=65535)
    """Port of /metrics, /healthz and /readyz of ingest and alerts; none = not served."""
    metrics_host: str = "127.0.0.1"
    stop_s: float = Field(10, gt=0)
    """How long a process may take to stop."""
    log_json: bool = False

    @field_validator("database_url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        """Before a process connects: libpq's messages quote what they cannot read, which may be of the password."""
        from psycopg import ProgrammingError, conninfo  # not needed where there is no URL

        try:
            parts = conninfo.conninfo_to_dict(value.get_secret_value())
            is_read = "@" not in str(parts.get("host"))[1:] and str(parts.get("port", "0")).replace(",", "").isdigit()
        except (ProgrammingError, ValueError):
            is_read = False
        if not is_read:
            raise ValueError("is no PostgreSQL URL, or something special in the password is not percent-encoded")
        return value

    @field_validator("mqtt_url", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("shards")
    @classmethod
    def _check_shards(cls, value: str) -> str:
        if not value or set(value) - set(SHARDS):
            raise ValueError(f"must be one or more of the hex digits {SHARDS}")
        return value

    @property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix)

    @property
    def limits(self) -> Limits:
        return Limits(
            payload_bytes=self.payload_bytes, entry_bytes=max(4 * self.payload_bytes, DEFAULT_LIMITS.entry_bytes)
        )

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the environment (default: the process's).

        Raises:
            SettingError: a setting is wrong; the message names its environment variable.
        """
        values = _from_environment(os.environ if environ is None else environ)
        try:
            return cls(**values)  # type: ignore[arg-type]  # pydantic parses the strings
        except ValidationError as error:
            first = error.errors()[0]
            name = _PREFIX + "_".join(str(part) for part in first["loc"][:1]).upper()
            raise SettingError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from error

    def need_database(self) -> str:
        """The database URL, or `SettingError` if none is set."""
        return _needed(
            self.database_url.get_secret_value(), "DATABASE_URL", "postgresql://user:password@host/dermafleet"
        )

    def need_brokers(self) -> list[str]:
        """The broker URLs, or `SettingError` if none is set."""
        urls = [url.get_secret_value() for url in self.mqtt_url]
        _needed(",".join(urls), "MQTT_URL", "mqtt://user:password@host:1883")
        return urls


def _needed(value: str, name: str, example: str) -> str:
    if not value:
        raise SettingError(f"{_PREFIX}{name} is not set; for example {example}")
    return value


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings named in an environment; a ``…_FILE`` variable is replaced by the file's content."""
    values: dict[str, str] = {}
    for name in Settings.model_fields:
        variable = _PREFIX + name.upper()
        if variable in environ:
            values[name] = environ[variable]
        elif path := environ.get(variable + _FILE_SUFFIX):
            try:
                values[name] = Path(path).read_text().strip()
            except OSError as error:
                raise SettingError(f"{variable}{_FILE_SUFFIX}: {path}: {error.strerror}") from error
    return values
