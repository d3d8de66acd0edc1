"""The benchmarks start: their options are read, and one of them runs in small."""

import json
from pathlib import Path

import pytest

from bench.__main__ import NAMES, main


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_says_what_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_unknown_benchmark_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["speed"])
    assert end.value.code == 2
    assert "ingest" in capsys.readouterr().err


def test_ingest_benchmark_in_small_finds_everything_it_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", "--devices", "4", "--seconds", "1", "--copy-rows", "200", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["bench"] == "ingest"
    assert found["samples_stored"] > 0
    assert found["refused"] == 0
    assert found["ratio_to_copy"] > 0


def test_detection_benchmark_in_small_prints_figures_by_profile_and_uplink(capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--only",
        "faults",
        "--cases",
        "pump_worn",
        "healthy",
        "--machines",
        "1",
        "--pump-s",
        "20",
        "--jobs",
        "1",
    ]
    assert main(["detection", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bench"] == "detection"
    assert found["machine"]["cores"] > 0
    assert {"fault_recall", "ambiguity_hit"} <= found["figures"].keys()
    for uplink in ("full", "lean"):
        assert found["detail"]["faults"][f"full/{uplink}"]["confusion"].keys() == {"pump_worn", "healthy"}


def test_machine_of_the_detection_benchmark_is_shown_again_by_its_id(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    samples = tmp_path / "samples.csv"
    options = ["--case", "filter_missing", "--pump-s", "20", "--samples", str(samples)]
    assert main(["detection", "--replay", "SIM-00000000002a", *options, "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)["told"]["SIM-00000000002a"]
    assert any("really: filter_missing" in line for line in lines)
    header, first, *_ = samples.read_text().splitlines()
    assert header.startswith("at_ms,")
    assert len(first.split(",")) == len(header.split(","))


def test_detection_benchmark_refuses_a_machine_that_was_never_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detection", "--replay", "MY-MACHINE"]) == 1
    assert "MY-MACHINE" in capsys.readouterr().err
