"""Recordings are chosen by their columns, converted to channels, and stretched to event time."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from dermafleet.contracts.channels import CHANNEL_BY_NAME
from dermafleet.errors import PermanentError
from device_agent.drivers.mapping import shipped_mappings
from device_agent.drivers.recording import load_runs
from device_agent.drivers.replay import ReplayDriver
from device_agent.simulator.fleet import Replay, replay_start
from tests.unit.agent.build import NOW_MS, instant

BENCH = "unit,t_s,dp_pa,flow,rul_s\n7,0.1,0.0,29.5,2\n7,0.2,500,81,1\n3,0.1,10,80,9\n3,0.3,600,81,0\n"
EARLY = "unit,t_s,dp_pa,flow,dust_feed_mm3_s,dust\n1,0.1,250,58,236.4,A3\n"
RIG = "run,t_s,flow_ml_min,p_up_psi,p_down_psi\n33,0.0,560,21.5,1.5\n"


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


def test_runs_come_in_the_order_of_the_meta_file(tmp_path: Path) -> None:
    write(tmp_path, "runs.csv.gz", BENCH)
    write(tmp_path, "runs_meta.csv.gz", "unit,life_s\n3,0.3\n7,0.2\n")
    runs = load_runs(tmp_path)
    assert [run.unit for run in runs] == ["3", "7"]
    assert list(runs[1].channels["filter_dp_kpa"]) == [0.0, 0.5]
    assert list(runs[1].channels["flow_lpm"]) == [29.5, 81.0]


def test_without_a_meta_file_runs_come_as_recorded(tmp_path: Path) -> None:
    assert [run.unit for run in load_runs(write(tmp_path, "any.csv", BENCH))] == ["7", "3"]


def test_pressures_become_a_difference_in_kpa(tmp_path: Path) -> None:
    write(tmp_path, "runs.csv", RIG)
    [run] = load_runs(tmp_path)
    assert run.channels["filter_dp_kpa"][0] == pytest.approx(20 * 6.894757)
    assert run.channels["flow_lpm"][0] == pytest.approx(0.56)


def test_a_column_of_words_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, "train_censored.csv.gz", EARLY)
    assert load_runs(tmp_path)[0].channels["filter_dp_kpa"][0] == 0.25


def test_an_own_mapping_may_have_no_unit_and_minutes(tmp_path: Path) -> None:
    mapping = write(
        tmp_path,
        "own.toml",
        'columns=["min","t"]\ntime="min"\nseconds=60\n[channels.pump_temp_c]\ncolumn="t"\nfactor=0.5555556\noffset=-17.7778\n',
    )
    [run] = load_runs(write(tmp_path, "own.csv", "min,t\n0,32\n1,212\n"), mapping)
    assert run.span_s() == 60
    assert list(run.channels["pump_temp_c"]) == [pytest.approx(0, abs=1e-3), pytest.approx(100, abs=1e-3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BENCH.replace("500", "much"), "runs.csv: line 3: column dp_pa: 'much' is not a number"),
        (BENCH.replace("500", "nan"), "line 3: column dp_pa: 'nan' is not a number"),
        (BENCH.replace(",81,1", ",81"), "line 3: 4 columns, the header has 5"),
        ("a,b\n1,2\n", "no mapping for the columns a, b"),
        ("", "line 1: there are no column names"),
        (BENCH.splitlines()[0] + "\n", "there are no rows"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "runs.csv", text)
    with pytest.raises(PermanentError, match=message):
        load_runs(tmp_path)


def test_a_sample_written_out_of_order_comes_at_its_time(tmp_path: Path) -> None:
    runs = load_runs(write(tmp_path, "any.csv", BENCH.replace("7,0.1", "7,9.9")))
    assert list(runs[0].seconds) == [0.2, 9.9]
    assert list(runs[0].channels["flow_lpm"]) == [81.0, 29.5]


def test_a_folder_without_runs_and_a_broken_archive_are_named(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="no runs"):
        load_runs(tmp_path)
    (tmp_path / "runs.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(PermanentError, match=r"runs\.csv\.gz"):
        load_runs(tmp_path)


def test_a_run_of_the_meta_file_that_is_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path, "runs.csv", BENCH)
    write(tmp_path, "runs_meta.csv", "unit\n99\n")
    with pytest.raises(PermanentError, match=r"runs_meta\.csv: run 99 is not in runs\.csv"):
        load_runs(tmp_path)


def test_shipped_mappings_use_registered_channels() -> None:
    mappings = shipped_mappings()
    assert set(mappings) == {"air_filter_bench", "air_filter_early", "liquid_filter_rig"}
    assert all(name in CHANNEL_BY_NAME for mapping in mappings.values() for name in mapping.channels)


def test_samples_come_out_when_their_event_time_has_come(tmp_path: Path) -> None:
    run = load_runs(write(tmp_path, "any.csv", BENCH))[1]
    driver = ReplayDriver(run, start_at=NOW_MS, seconds_per_second=3600)
    first = driver.read(instant(0))
    assert first is not None
    assert first.when == instant(0)
    assert driver.read(instant(719.9)) is None
    late = driver.read(instant(800))
    assert late is not None
    assert late.when == instant(720)
    assert late.values == {"filter_dp_kpa": pytest.approx(0.6), "flow_lpm": 81.0}
    assert driver.ended
    assert driver.read(instant(900)) is None


def test_the_longest_run_ends_at_the_present(tmp_path: Path) -> None:
    runs = load_runs(write(tmp_path, "any.csv", BENCH))
    plan = Replay(tmp_path, speed=36, seconds_per_second=3600)
    start = replay_start(runs, plan, NOW_MS)
    event_ms = round(0.2 * 3600 * 1000)
    assert start + event_ms == NOW_MS + event_ms // 36
    assert replay_start(runs, replace(plan, speed=1), NOW_MS) == NOW_MS
