"""From findings to the rows that store them. Pure."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from dermafleet.storage.condition import BaselineRow, FeatureRow, FilterLifeRow, ForecastRow, ObservabilityRow
from services.alerts.features.types import SessionFeatures
from services.alerts.findings import Findings
from services.alerts.observation import utc


def feature_rows(findings: Findings) -> Iterator[FeatureRow]:
    """One row per session and component."""
    for each in findings.features:
        yield FeatureRow(
            component=each.component,
            session_id=each.session_id,
            purpose=each.purpose,
            started_at=utc(each.started_ms),
            ended_at=utc(each.ended_ms),
            version=each.version,
            filter_index=each.filter_index,
            features=_document(each),
        )


def baseline_rows(findings: Findings) -> Iterator[BaselineRow]:
    """One row per new version."""
    for each in findings.baselines:
        yield BaselineRow(
            component=each.component,
            tip=each.tip,
            quantity=each.quantity,
            version=each.version,
            value=each.value,
            spread=each.spread,
            n=each.n,
            from_at=utc(each.at_ms),
            reason=each.reason,
        )


def forecast_rows(findings: Findings) -> Iterator[ForecastRow]:
    """One row per forecast."""
    for each in findings.forecasts:
        yield ForecastRow(
            component=each.component,
            made_at=utc(each.at_ms),
            ratio=each.ratio,
            share_left=each.share_left,
            remaining={
                unit: told
                for unit, told in (("sessions", each.sessions), ("hours", each.hours), ("days", each.days))
                if told is not None
            },
            basis=each.basis,
            filters=each.filters,
            evening_probability=each.evening_probability,
        )


def observability_rows(findings: Findings, at: datetime) -> Iterator[ObservabilityRow]:
    """One row per answer that changed at this event time."""
    for each in findings.observability:
        yield ObservabilityRow(
            component=each.component,
            fault=each.fault,
            observable=each.is_observable,
            reason=each.reason,
            ambiguous_with=each.ambiguous_with,
            since_at=at,
        )


def life_rows(findings: Findings) -> Iterator[FilterLifeRow]:
    """One row per filter that ended."""
    for each in findings.lives:
        yield FilterLifeRow(
            component=each.component,
            from_at=utc(each.from_ms),
            to_at=utc(each.to_ms),
            censored=each.life.life_s is None,
            reason=each.reason,
            curve=msgspec.to_builtins(each.life),
        )


def _document(features: SessionFeatures) -> dict[str, object]:
    document: dict[str, object] = msgspec.to_builtins(features)
    return document
