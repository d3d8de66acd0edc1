"""Telemetry of a range within a budget of points: every sample if they fit, else the envelope in equal buckets.

The answer is put together from the arrays that PostgreSQL wrote as JSON; no point becomes a Python object.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.channels import CHANNEL_BY_NAME
from dermafleet.storage.completeness import complete_until
from dermafleet.storage.devices import DeviceRow
from dermafleet.storage.telemetry import (
    Envelope,
    Samples,
    Span,
    count_samples,
    extra_channels,
    read_envelope,
    read_samples,
)
from services.api.problems import invalid_parameter
from services.api.times import EARLIEST
from services.api.views import channel_names

MIN_POINTS = 10
MAX_POINTS = 5000
"""More than a screen has columns; the answer stays below 1 MB per channel and form."""
MAX_CHANNELS = 64
"""As many as a telemetry block may carry."""
MAX_RANGE = timedelta(days=93)
"""A quarter: at 10 Hz in use and one sample a minute otherwise it is read within the statement's time limit."""

_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60_000, 3_600_000, 86_400_000
WIDTHS_MS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(n * _SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 4, 6, 12)),
    *(n * _DAY for n in (1, 2, 4, 7, 14)),
)
"""Widths of buckets that a person can read off an axis."""

_CHANNEL_NAME = re.compile(r"[^\x00-\x1f,]{1,64}")

_encoder = msgspec.json.Encoder()


async def read_series(
    connection: AsyncConnection, device: DeviceRow, names: Sequence[str] | None, span: Span, points: int
) -> bytes:
    """The JSON answer, as `models.Telemetry` describes it. ``names``: None = all that the device reports.

    Raises:
        Refused: a channel is unknown.
    """
    channels = channel_names(device) if names is None else await _checked(connection, device, names, span)
    head = {
        "device_id": device.device_id,
        "from": _text(span.from_at),
        "to": _text(span.to_at),
        "source": "raw",
        "complete_until": _text(await complete_until(connection, device.id)),
    }
    if await count_samples(connection, span, most=points + 1) <= points:
        return _encode_samples(head, await read_samples(connection, span, channels))
    width_ms = bucket_ms(span.from_at, span.to_at, points)
    envelope = await read_envelope(connection, span, channels, width=timedelta(milliseconds=width_ms))
    return _encode_envelope(head, width_ms, envelope)


def bucket_ms(from_at: datetime, to_at: datetime, points: int) -> int:
    """The least readable width of buckets, aligned to 1970, of which at most ``points`` touch ``[from_at, to_at)``."""
    since_1970, until_1970 = from_at - EARLIEST, to_at - EARLIEST
    for width_ms in WIDTHS_MS:
        width = timedelta(milliseconds=width_ms)
        if -(-until_1970 // width) - since_1970 // width <= points:
            return width_ms
    return WIDTHS_MS[-1]


def parse_channels(text: str | None) -> list[str] | None:
    """Names out of ``a,b``, each once; None if there is no such parameter.

    Raises:
        Refused: there is none, or one too many, or one that cannot be a name.
    """
    if text is None:
        return None
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if len(names) > MAX_CHANNELS:
        raise invalid_parameter("channels", f"names {len(names)} channels, at most {MAX_CHANNELS}")
    for name in names:
        if not _CHANNEL_NAME.fullmatch(name):
            raise invalid_parameter("channels", f"{name[:80]!r} cannot be the name of a channel")
    return names


async def _checked(connection: AsyncConnection, device: DeviceRow, names: Sequence[str], span: Span) -> Sequence[str]:
    unknown = [name for name in names if name not in CHANNEL_BY_NAME and name not in device.reported]
    if unknown:
        found = await extra_channels(connection, span, unknown)
        if strange := [name for name in unknown if name not in found]:
            raise invalid_parameter(
                "channels", f"{strange[0]!r} is no channel of the registry, nor does {device.device_id} report it"
            )
    return names


def _encode_samples(head: Mapping[str, object], samples: Samples) -> bytes:
    channels = {name: {"unit": _unit(name), "value": _raw(value)} for name, value in samples.value.items()}
    return _encoder.encode({**head, "resolution": "raw", "bucket_ms": None, "t": _raw(samples.t), "channels": channels})


def _encode_envelope(head: Mapping[str, object], width_ms: int, envelope: Envelope) -> bytes:
    channels = {
        name: {
            "unit": _unit(name),
            "min": _raw(envelope.min[name]),
            "max": _raw(envelope.max[name]),
            "mean": _raw(envelope.mean[name]),
        }
        for name in envelope.min
    }
    return _encoder.encode(
        {**head, "resolution": "bucket", "bucket_ms": width_ms, "t": _raw(envelope.t), "channels": channels}
    )


def _unit(name: str) -> str | None:
    known = CHANNEL_BY_NAME.get(name)
    return known.unit if known else None


def _raw(array: str) -> msgspec.Raw:
    return msgspec.Raw(array.encode())


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
