"""The clogged-filter detector on filters recorded on real benches: one recorded second is one hour of use."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.alerts.detectors.filter_clogged import State, evaluate
from services.alerts.forecast.judge import NEAR_LEVEL, SERVICE_DUE
from services.alerts.limits import Limits
from services.alerts.observation import Block, Observation

DATA = Path(__file__).parents[3] / "shared" / "data"
BENCH, EARLY = DATA / "air_filter_bench" / "runs.csv.gz", DATA / "air_filter_early" / "train_censored.csv.gz"
LIMIT_PA = 600.0
BENCH_LPM = 81.0
MS_PER_RECORDED_S = 3_600_000
SAMPLES_PER_ENTRY = 7

pytestmark = pytest.mark.skipif(not BENCH.exists(), reason=f"no recorded data in {DATA}")

Run = NDArray[np.float64]
"""Shape (n, 3): t_s, dp_pa, flow_lpm."""


def runs_of(file: Path) -> dict[str, Run]:
    rows = defaultdict(list)
    with gzip.open(file, "rt") as lines:
        for row in csv.DictReader(lines):
            rows[row["unit"]].append((float(row["t_s"]), float(row["dp_pa"]), float(row["flow"])))
    return {unit: np.array(found) for unit, found in rows.items()}


def judge(run: Run, rated_lpm: float) -> list[Observation]:
    """What the detector says, over a whole run."""
    state, seen = State(), []
    limits = Limits(filter_dp_kpa=LIMIT_PA / 1000, filter_flow_lpm=rated_lpm)
    for seq, block in enumerate(_blocks(run), 1):
        block_of_entry = Block(
            "e",
            seq,
            "b",
            int(block[0, 0]),
            block[:, 0].astype(np.int64),
            {"filter_dp_kpa": block[:, 1] / 1000, "flow_lpm": block[:, 2]},
        )
        seen += evaluate(state, block_of_entry, limits)
    return seen


def _blocks(run: Run) -> Iterator[Run]:
    in_ms = np.column_stack([np.round(run[:, 0] * MS_PER_RECORDED_S), run[:, 1], run[:, 2]])
    for first in range(0, len(run), SAMPLES_PER_ENTRY):
        yield in_ms[first : first + SAMPLES_PER_ENTRY]


def raises(seen: list[Observation]) -> list[Observation]:
    """The observations from which on service is due, or due again."""
    severities = [0, *(each.severity or 0 for each in seen)]
    return [
        each for each, before, now in zip(seen, severities, severities[1:], strict=False) if before < SERVICE_DUE <= now
    ]


def test_every_filter_run_to_its_limit_gets_one_alarm_before_it() -> None:
    leads_h = []
    for unit, run in runs_of(BENCH).items():
        found = raises(judge(run, BENCH_LPM))
        assert len(found) == 1, f"unit {unit}: {len(found)} alarms"
        end_at = datetime.fromtimestamp(run[-1, 0] * MS_PER_RECORDED_S / 1000, UTC)
        leads_h.append((end_at - found[0].at).total_seconds() / 3600)
        assert found[0].confidence > 0.8, f"unit {unit}"
    assert len(leads_h) == 80
    assert min(leads_h) > 2, "hours of use left at the alarm"
    assert np.median(leads_h) < 24


def test_filters_replaced_early_get_an_alarm_only_near_their_limit() -> None:
    alarmed = set()
    for unit, run in runs_of(EARLY).items():
        # Two set points, two models of bench: the limit holds at the flow of the bench.
        rated = BENCH_LPM if np.median(run[:, 2]) > 70 else 58.0
        found = raises(judge(run, rated))
        is_near = run[:, 1].max() >= NEAR_LEVEL * LIMIT_PA
        assert len(found) == int(is_near), f"unit {unit}: {len(found)} alarms, highest {run[:, 1].max()} Pa"
        alarmed |= {unit} if found else set()
    assert {"11", "43", "44", "46", "47"} <= alarmed, "those that reached their limit"
    assert len(alarmed) == 6
