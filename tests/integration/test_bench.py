"""The benchmarks start: their options are read, and one of them runs in small."""

import json

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
