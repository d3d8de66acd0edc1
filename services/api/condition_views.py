"""From rows about a device's condition to what the API answers. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from dermafleet.storage.alarm_queries import AlarmRow
from dermafleet.storage.condition import BaselineRow, ForecastRow, ObservabilityRow
from dermafleet.storage.condition_queries import FeatureRow, MaintenanceRow
from dermafleet.storage.sessions import SessionRow
from services.api import condition_models as models
from services.api import views
from services.api.texts import title_of

MAIN = "main"


def condition(
    device_id: str,
    evaluated_until: datetime | None,
    trend: Sequence[FeatureRow],
    observability: Sequence[ObservabilityRow],
    baselines: Sequence[BaselineRow],
    alarms: Sequence[AlarmRow],
) -> models.Condition:
    """All components of which anything is known; ``main`` first."""
    rows = (trend, observability, baselines)
    names = {row.component for some in rows for row in some}
    return models.Condition(
        device_id=device_id,
        evaluated_until=evaluated_until,
        components=[
            models.ComponentCondition(
                component=name,
                filter_index=_last_index(row for row in trend if row.component == name),
                trend=[_point(row) for row in trend if row.component == name],
                observability=[_observability(row) for row in observability if row.component == name],
                alarms=[views.alarm(row) for row in _worst_first(alarms) if row.component == name],
                baselines=[_baseline(row) for row in baselines if row.component == name],
            )
            for name in sorted(names, key=lambda name: (name != MAIN, name))
        ],
    )


def forecasts(device_id: str, rows: Iterable[ForecastRow]) -> models.Forecasts:
    return models.Forecasts(device_id=device_id, data=[_forecast(row) for row in rows])


def session_detail(
    device_id: str, session_id: str, row: SessionRow | None, features: Iterable[FeatureRow]
) -> models.SessionDetail:
    return models.SessionDetail(
        session_id=session_id,
        device_id=device_id,
        session=None if row is None else views.session(row),
        features=[
            models.SessionFeatures(
                **_point(each).model_dump(),
                component=each.component,
                version=each.version,
                features=each.features,
            )
            for each in features
        ],
    )


def maintenance(row: MaintenanceRow) -> models.MaintenanceRecord:
    return models.MaintenanceRecord.model_validate(row)


def _point(row: FeatureRow) -> models.FeaturePoint:
    return models.FeaturePoint(
        session_id=row.session_id,
        purpose=row.purpose,
        started_at=row.started_at,
        ended_at=row.ended_at,
        filter_index=row.filter_index,
        values=row.features.get("values", {}),
    )


def _last_index(rows: Iterable[FeatureRow]) -> float | None:
    known = [row.filter_index for row in rows if row.filter_index is not None]
    return known[-1] if known else None


def _worst_first(rows: Sequence[AlarmRow]) -> list[AlarmRow]:
    return sorted(rows, key=lambda row: (-row.severity, row.raised_at))


def _observability(row: ObservabilityRow) -> models.Observability:
    return models.Observability(
        fault=row.fault,
        title=title_of(row.fault),
        observable=row.observable,
        reason=row.reason,
        ambiguous_with=[models.FaultName(fault=each, title=title_of(each)) for each in row.ambiguous_with],
        since=row.since_at,
    )


def _baseline(row: BaselineRow) -> models.Baseline:
    return models.Baseline(
        tip=row.tip,
        quantity=row.quantity,
        version=row.version,
        value=row.value,
        spread=row.spread,
        n=row.n,
        holds_from=row.from_at,
        reason=row.reason,
    )


def _forecast(row: ForecastRow) -> models.Forecast:
    hours = _range(row.remaining["hours"])
    sessions, days = (row.remaining.get(unit) for unit in ("sessions", "days"))
    return models.Forecast(
        component=row.component,
        made_at=row.made_at,
        ratio=row.ratio,
        share_left=row.share_left,
        sessions=None if sessions is None else _range(sessions),
        hours=hours,
        days=None if days is None else _range(days),
        basis=row.basis,
        filters=row.filters,
        evening_probability=row.evening_probability,
    )


def _range(told: Sequence[float]) -> models.Range:
    p10, p50, p90 = told
    return models.Range(p10=p10, p50=p50, p90=p90)
