"""What the API answers, as types: the source of ``docs/openapi.json`` and of the dashboard's types.

Series are described here but never built from these classes; see `services.api.series`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from dermafleet.contracts.channels import Profile
from dermafleet.contracts.ranges import Range

DeviceState = Literal["pending", "active", "suspended", "revoked", "retired"]
Presence = Literal["online", "offline", "never_seen"]
Activity = Literal["treating", "ready", "idle"]
Standing = Literal["raised", "acknowledged", "shelved", "cleared", "closed"]
SeverityName = Literal["info", "advisory", "service due", "fault", "stop"]
Severity = Annotated[int, Field(ge=0, le=4)]


class Model(BaseModel):
    """The root of all answers: frozen, every field documented by the string below it, and always present."""

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        from_attributes=True,
        protected_namespaces=(),
        json_schema_serialization_defaults_required=True,
    )


class Credentials(Model):
    """What a person logs in with."""

    email: Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^\x00]*$")]
    password: Annotated[str, Field(min_length=1, max_length=1024)]


class Me(Model):
    """Who is logged in."""

    email: str
    role: str


class FleetSummary(Model):
    """The fleet in one row of numbers."""

    devices: int
    """Devices in service: all but revoked and retired ones."""
    online: int
    offline: int
    never_seen: int
    treating: int
    alarms_open: int
    """Alarms raised, acknowledged or shelved."""
    alarms_by_severity: dict[str, int]
    """Open alarms per severity, keys "0" to "4", all present."""
    sessions_today: int
    """Treatments started since 00:00 UTC."""
    samples_per_s: float
    """Samples committed per second, mean over the last minute."""
    as_of: datetime


class DeviceModel(Model):
    """A type of machine."""

    id: str
    name: str
    profile: Profile


class Site(Model):
    """The clinic where a device stands now."""

    id: UUID
    name: str
    time_zone: str
    organization: str
    """Name of the organization that has the device there."""


class Channel(Model):
    """One measured quantity."""

    name: str
    unit: str | None
    """UCUM code; null for a channel of the maker's own that the registry does not know."""
    low: float | None
    """Plausible range: a value outside it is stored as it came and marked."""
    high: float | None
    profile: Profile | None
    """The smallest profile that fits this sensor."""
    meaning: str | None


class Channels(Model):
    """The channel registry."""

    data: list[Channel]


class Device(Model):
    """One machine: who and where it is, whether it is there, its newest values and worst alarm."""

    device_id: str
    label: str
    state: DeviceState
    model: DeviceModel | None
    site: Site | None
    presence: Presence
    """Online needs a status message within three heartbeats, not only the broker's word."""
    activity: Activity | None
    """What the machine does; null unless it is online."""
    last_seen_at: datetime | None
    """When its last status message or its newest samples arrived, whichever is later."""
    latest_at: datetime | None
    """Event time of ``latest``."""
    latest: dict[str, float | None]
    """Newest value per channel, from the status message or from telemetry, whichever is newer."""
    alarms_open: int
    worst_severity: Severity | None
    """Of the open alarms."""


class Lifetime(Model):
    """What a machine did in its life, whatever happened to its storage."""

    pump_s: float
    contact_s: float
    sessions: int
    strokes: int
    crystals_g: float
    pump_starts: int
    last_at: datetime
    """Event time of what it told last."""


class DeviceDetail(Device):
    """A device and where its log stands."""

    channels: list[Channel]
    """What this machine reports, in registry order; what its profile fits if it has not reported yet."""
    limits: dict[str, float]
    """Rated limits of the device model, by name; what is not stated is absent."""
    evaluated_until: datetime | None
    """Event time up to which detectors have judged."""
    backlog: int | None
    """Entries on the machine's disk that have not arrived; null if it has told nothing."""
    agent: str | None
    """Version of the device agent."""
    connection_since: datetime | None
    """Since when ``presence`` is what it is."""
    lifetime: Lifetime | None
    """Null while it has told of no counters."""


class Latest(Model):
    """The newest value per channel."""

    at: datetime
    """Event time."""
    received_at: datetime
    source: Literal["status", "telemetry"]
    values: dict[str, float | None]


class RawChannel(Model):
    """The samples of one channel."""

    unit: str | None
    value: list[float | None]


class BucketChannel(Model):
    """The envelope of one channel: minimum, maximum and mean per bucket."""

    unit: str | None
    min: list[float | None]
    max: list[float | None]
    mean: list[float | None]


class Series(Model):
    """What both forms of a series say about themselves."""

    device_id: str
    from_: Annotated[datetime, Field(alias="from")]
    to: datetime
    source: Literal["raw"]
    """What the answer was computed from."""
    complete_until: datetime | None
    """Event time before which nothing that the device has told of is missing; null if nothing has arrived."""
    t: list[int]
    """Unix milliseconds: of each sample, or of each bucket's start. A bucket without samples is absent."""


class RawSeries(Series):
    """Every sample of the range."""

    resolution: Literal["raw"]
    bucket_ms: None
    channels: dict[str, RawChannel]


class BucketSeries(Series):
    """The range in equal buckets, because it holds more samples than the points asked for."""

    resolution: Literal["bucket"]
    bucket_ms: int
    """Width of a bucket; buckets begin at multiples of it since 1970, so a sliding range keeps its buckets."""
    channels: dict[str, BucketChannel]


Telemetry = Annotated[RawSeries | BucketSeries, Field(discriminator="resolution")]


class Session(Model):
    """One session: a treatment, or a run of another purpose. Codes are those of the vocabulary's version."""

    session_id: str
    device_id: str
    started_at: datetime | None
    """Null while the entry that started it has not arrived."""
    last_at: datetime
    ended_at: datetime | None
    outcome: str | None
    pump_s: float | None
    contact_s: float | None
    strokes: int | None
    longest_dwell_s: float | None
    purpose: str
    """`treatment`, `self_test`, `cleaning`, `demo` or `service`; only treatments count clinically."""
    setpoints: list[tuple[float, float]] | None
    """Seconds since the start, and the set point from there on, kPa."""
    crystals_used_g: float | None
    vacuum_p50_kpa: float | None
    """This and the next two: while in contact."""
    vacuum_p95_kpa: float | None
    vacuum_max_kpa: float | None
    over_vacuum_s: float | None
    """Time above the machine's vacuum limit."""
    modality: str | None
    tip_type: str | None
    tip_size_mm: float | None
    abrasive: str | None
    screening_outcome: str | None
    abort_reason: str | None
    indications: list[str] | None
    """Only of clinics that chose the privacy mode `coded`, as `body_sites`."""
    body_sites: list[str] | None
    passes: int | None
    vocabulary: int | None
    """Version of the codes; null where there are none."""


class AlarmSite(Model):
    """The clinic where the device stands now."""

    id: UUID
    name: str
    time_zone: str


class Candidate(Model):
    """A fault that an alarm may stand for."""

    fault: str
    title: str
    probability: Annotated[float, Field(ge=0, le=1)]


class Alarm(Model):
    """The record of a fault."""

    id: UUID
    device_id: str
    device_label: str
    site: AlarmSite | None
    component: str
    fault: str
    title: str
    """The fault in a few words."""
    statement: str
    """What was found, how sure that is, and what to do, in plain English."""
    severity: Severity
    severity_name: SeverityName
    standing: Standing
    confidence: Annotated[float, Field(ge=0, le=1)]
    candidates: list[Candidate]
    """Faults that the sensors of this machine cannot tell apart, itself included, most probable first; empty = no doubt
    about the name."""
    raised_at: datetime
    last_at: datetime
    cleared_at: datetime | None
    count: int
    """How often the condition came, the first time included."""
    detector: str
    detector_version: int
    detail: dict[str, Any]  # its shape is the detector's


class AlarmEvent(Model):
    """One step in the life of an alarm."""

    transition: str
    event_at: datetime
    recorded_at: datetime
    actor: str
    reason: str
    data: dict[str, Any]  # its shape depends on the transition


class AlarmDetail(Alarm):
    """An alarm and how it came to stand as it stands."""

    history: list[AlarmEvent]
    """Oldest first."""


class EntryCounts(Model):
    """Log entries of one device by what became of them; stored + missing + lost + refused = all it told of."""

    stored: int
    duplicate: int
    """Arrivals of an entry that was stored already."""
    missing: int
    """Not arrived yet, and still on the device's disk as far as it has told."""
    lost: int
    """Gone from the device's disk before they arrived."""
    refused: int
    """In quarantine."""
    late: int
    """Stored after they were declared lost; part of ``stored``, never evaluated."""


class EpochCompleteness(Model):
    """One epoch of a device's log. Ranges are inclusive."""

    epoch: str
    head: int
    """Newest sequence the device has told of."""
    upto: int
    """Everything up to here is stored, refused or lost."""
    stored: int
    missing: list[Range]
    lost: list[Range]
    refused: list[Range]
    late: list[Range]


class Completeness(Model):
    """What has arrived of a device's log, and what has not."""

    device_id: str
    entries: EntryCounts
    samples_stored: int
    epochs: list[EpochCompleteness]
    """In order of their first commit."""


class QuarantineEntry(Model):
    """A message that was refused, and why. Its payload stays in the database."""

    id: str
    device_id: str | None
    """Null if the topic was not a device's."""
    topic: str
    epoch: str | None
    seq: int | None
    field: str
    """The field at fault."""
    reason: str
    payload_bytes: int
    count: int
    """How often these bytes came."""
    received_at: datetime


class DevicePage(Model):
    """Devices in the order of their id."""

    data: list[Device]
    next_cursor: str | None
    """Pass it as ``cursor`` for the next page; null on the last one."""


class SessionPage(Model):
    """Sessions, newest first."""

    data: list[Session]
    next_cursor: str | None


class AlarmPage(Model):
    """Alarms, newest first."""

    data: list[Alarm]
    next_cursor: str | None


class QuarantinePage(Model):
    """Refused messages, newest first."""

    data: list[QuarantineEntry]
    next_cursor: str | None


class FieldProblem(Model):
    """What is wrong with one part of a request."""

    pointer: str
    """Where: a JSON Pointer into the body such as ``#/email``, or ``?name`` for a query parameter."""
    detail: str


class Problem(Model):
    """Why a request failed (RFC 9457, ``application/problem+json``)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    """Path of the request."""
    errors: list[FieldProblem]
    request_id: str
    """Also in the header ``X-Request-ID`` and in the server's log."""


class Health(Model):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Model):
    """Whether this process can do its work, and what it sees of the others."""

    ready: bool
    reasons: list[str]
    """Why not; empty when ready."""
    unserved_shards: list[str]
    """Shards that no running ingest worker serves: devices in them are waiting."""
    feed_lag_ms: int | None
    """Age of the oldest change not yet shown to browsers; null if there is none or no database."""


class LiveTelemetry(Model):
    """Data of the stream event ``telemetry``: samples just committed, oldest first."""

    device_id: str
    t: list[int]
    """Unix milliseconds."""
    channels: dict[str, list[float | None]]
