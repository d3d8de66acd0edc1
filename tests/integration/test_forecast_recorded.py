"""The forecast on filters recorded on real rigs, each judged by others: what the benchmark promises."""

from pathlib import Path

import pytest

from bench.detection.recorded import run

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not (DATA / "air_filter_bench").exists(), reason=f"no recorded data in {DATA}")


def test_recorded_filters_are_forecast_and_judged_in_time() -> None:
    figures, _ = run(DATA, 0)
    assert figures["clog_timely"] >= 0.95
    assert figures["clog_premature"] == 0
    assert figures["rul_air_rmse_known_s"] <= 6.3
    assert figures["rul_liquid_mae_s"] <= 8
    assert 0.70 <= figures["rul_coverage"] <= 0.90
