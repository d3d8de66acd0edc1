"""From rows of storage to what the API answers. Pure: the same rows give the same answer."""

from collections.abc import Sequence

from dermafleet.contracts.channels import CHANNEL_BY_NAME, CHANNELS, fitted
from dermafleet.contracts.channels import Channel as Registered
from dermafleet.storage.alarm_queries import AlarmEventRow, AlarmRow
from dermafleet.storage.completeness import EpochLedger
from dermafleet.storage.devices import DeviceRow
from dermafleet.storage.quarantine import Refusal
from dermafleet.storage.sessions import Lifetime, SessionRow
from services.api import models
from services.api.texts import SEVERITIES, candidates_of, statement_of, title_of


def device(row: DeviceRow) -> models.Device:
    return models.Device.model_validate(_device(row))


def device_detail(
    row: DeviceRow, *, evaluated_until: object, backlog: int | None, lifetime: Lifetime | None
) -> models.DeviceDetail:
    return models.DeviceDetail.model_validate(
        {
            **_device(row),
            "channels": [channel(name) for name in channel_names(row)],
            "limits": {name: value for name, value in row.limits.items() if isinstance(value, int | float)},
            "evaluated_until": evaluated_until,
            "backlog": backlog,
            "agent": row.agent,
            "connection_since": row.presence_since,
            "lifetime": lifetime,
        }
    )


def channel_names(row: DeviceRow) -> list[str]:
    """What a machine reports, in registry order and then its own; what its profile fits if it has not reported yet."""
    if row.reported:
        known = [c.name for c in CHANNELS if c.name in row.reported]
        return known + sorted(set(row.reported) - set(known))
    return [c.name for c in (fitted(row.profile) if row.profile else CHANNELS)]


def channel(name: str) -> models.Channel:
    """A channel of the registry, or one of a maker's own of which only the name is known."""
    found: Registered | None = CHANNEL_BY_NAME.get(name)
    if found:
        return models.Channel.model_validate(found)
    return models.Channel(name=name, unit=None, low=None, high=None, profile=None, meaning=None)


def latest(row: DeviceRow) -> models.Latest | None:
    """The newest values; None if the device has told none."""
    if row.latest_source is None:
        return None
    return models.Latest.model_validate(
        {
            "at": row.latest_at,
            "received_at": row.latest_received_at or row.latest_at,
            "source": row.latest_source,
            "values": row.latest,
        }
    )


def session(row: SessionRow) -> models.Session:
    return models.Session.model_validate(row)


def alarm(row: AlarmRow) -> models.Alarm:
    return models.Alarm.model_validate(_alarm(row))


def alarm_detail(row: AlarmRow, history: Sequence[AlarmEventRow]) -> models.AlarmDetail:
    steps = [models.AlarmEvent.model_validate(step) for step in history]
    return models.AlarmDetail.model_validate({**_alarm(row), "history": steps})


def completeness(device_id: str, ledgers: Sequence[EpochLedger]) -> models.Completeness:
    counts = models.EntryCounts(
        stored=sum(one.stored for one in ledgers),
        duplicate=sum(one.duplicates for one in ledgers),
        missing=sum(len(one.missing) for one in ledgers),
        lost=sum(len(one.lost) for one in ledgers),
        refused=sum(len(one.refused) for one in ledgers),
        late=sum(len(one.late) for one in ledgers),
    )
    epochs = [
        models.EpochCompleteness(
            epoch=one.epoch,
            head=one.head,
            upto=one.upto,
            stored=one.stored,
            missing=list(one.missing.ranges),
            lost=list(one.lost.ranges),
            refused=list(one.refused.ranges),
            late=list(one.late.ranges),
        )
        for one in ledgers
    ]
    samples = sum(one.samples for one in ledgers)
    return models.Completeness(device_id=device_id, entries=counts, samples_stored=samples, epochs=epochs)


def refusal(row: Refusal) -> models.QuarantineEntry:
    return models.QuarantineEntry(
        id=str(row.id),
        device_id=row.device_id,
        topic=row.topic,
        epoch=row.epoch,
        seq=row.seq,
        field=row.field,
        reason=row.reason,
        payload_bytes=row.payload_bytes,
        count=row.count,
        received_at=row.received_at,
    )


def _device(row: DeviceRow) -> dict[str, object]:
    model = row.model_id and {"id": row.model_id, "name": row.model_name, "profile": row.profile}
    site = row.site_id and {
        "id": row.site_id,
        "name": row.site_name,
        "time_zone": row.time_zone,
        "organization": row.organization,
    }
    return {
        "device_id": row.device_id,
        "label": row.label,
        "state": row.state,
        "model": model,
        "site": site,
        "presence": row.presence,
        "activity": row.activity,
        "last_seen_at": row.last_seen_at,
        "latest_at": row.latest_at,
        "latest": row.latest,
        "alarms_open": row.alarms_open,
        "worst_severity": row.worst_severity,
    }


def _alarm(row: AlarmRow) -> dict[str, object]:
    site = row.site_id and {"id": row.site_id, "name": row.site_name, "time_zone": row.time_zone}
    candidates = candidates_of(row.detail)
    return {
        "id": row.id,
        "device_id": row.device_id,
        "device_label": row.device_label,
        "site": site,
        "component": row.component,
        "fault": row.fault,
        "title": title_of(row.fault, candidates, row.detail),
        "statement": statement_of(row.fault, row.severity, row.confidence, row.detail, candidates),
        "severity": row.severity,
        "severity_name": SEVERITIES[row.severity],
        "standing": row.standing,
        "confidence": row.confidence,
        "candidates": [
            {"fault": fault, "title": title_of(fault), "probability": probability}
            for fault, probability in candidates.items()
        ],
        "raised_at": row.raised_at,
        "last_at": row.last_at,
        "cleared_at": row.cleared_at,
        "count": row.count,
        "detector": row.detector,
        "detector_version": row.detector_version,
        "detail": row.detail,
    }
