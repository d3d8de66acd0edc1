"""MQTT topics, built and parsed here and nowhere else.

``{prefix}/{shard}/{device_id}/up/{kind}``, ``…/status``, ``…/down/{name}`` with the default prefix ``dermafleet/v1``.
The identity of a device is its topic: the broker lets it publish under its own id only.
"""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast, get_args

from dermafleet.errors import InvalidHeader, SettingError

Kind = Literal["telemetry", "session", "event"]
"""The kinds of log entry; the last segment of an ``up`` topic."""

Down = Literal["ack", "config", "condition"]

KINDS: frozenset[str] = frozenset(get_args(Kind))
SHARDS = "0123456789abcdef"
DEFAULT_PREFIX = "dermafleet/v1"

_SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A topic that a device published under: an entry of its log, or its status (``kind`` is None)."""

    device_id: str
    kind: Kind | None


def check_segment(value: str, name: str) -> str:
    """Return ``value`` if it may stand in a topic; else raise `SettingError` naming ``name``."""
    if not _SEGMENT.fullmatch(value):
        raise SettingError(f"{name}: {value!r} must be 1 to 64 of A-Z a-z 0-9 _ -")
    return value


def shard_of(device_id: str) -> str:
    """The shard of a device: one lower-case hex digit, so that ingest workers can split the fleet by filters."""
    return SHARDS[zlib.crc32(device_id.encode()) & 15]


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics under one prefix (a setting, because makers have brokers of their own)."""

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        for segment in self.prefix.split("/"):
            check_segment(segment, "topic prefix")

    def up(self, device_id: str, kind: Kind) -> str:
        return f"{self._device(device_id)}/up/{kind}"

    def status(self, device_id: str) -> str:
        return f"{self._device(device_id)}/status"

    def down(self, device_id: str, name: Down) -> str:
        return f"{self._device(device_id)}/down/{name}"

    def all_down(self, device_id: str) -> str:
        """The filter a device subscribes to."""
        return f"{self._device(device_id)}/down/+"

    def ingest_filters(self, shards: Iterable[str] = SHARDS) -> list[str]:
        """The filters an ingest worker subscribes to for its shards; all shards collapse into two filters."""
        chosen = sorted(set(shards))
        segments = ["+"] if chosen == list(SHARDS) else chosen
        return [f"{self.prefix}/{s}/+/{rest}" for s in segments for rest in ("up/+", "status")]

    def parse(self, topic: str) -> Incoming:
        """Split a topic that a device published under.

        Raises:
            InvalidHeader: it is not one of ours, or its shard is not the device's.
        """
        head, parts = self.prefix + "/", topic.removeprefix(self.prefix + "/").split("/")
        if not topic.startswith(head) or len(parts) not in (3, 4):
            raise InvalidHeader("topic", f"{topic[:200]!r} is not under {self.prefix}/{{shard}}/{{device_id}}")
        shard, device_id, *rest = parts
        if not _SEGMENT.fullmatch(device_id):
            raise InvalidHeader("topic.device_id", f"{device_id[:80]!r} must be 1 to 64 of A-Z a-z 0-9 _ -")
        if shard != shard_of(device_id):
            raise InvalidHeader("topic.shard", f"{shard[:8]!r} is not the shard of {device_id} ({shard_of(device_id)})")
        if rest == ["status"]:
            return Incoming(device_id, None)
        if len(rest) == 2 and rest[0] == "up" and rest[1] in KINDS:
            return Incoming(device_id, cast(Kind, rest[1]))
        raise InvalidHeader("topic.kind", f"{'/'.join(rest)[:80]!r} is neither status nor up/ with {sorted(KINDS)}")

    def _device(self, device_id: str) -> str:
        return f"{self.prefix}/{shard_of(check_segment(device_id, 'device id'))}/{device_id}"
