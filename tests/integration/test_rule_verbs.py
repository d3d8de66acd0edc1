"""``dermafleet rule`` against a real database."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from dermafleet.storage.engine import make_engine
from tests.integration.test_follower import Site
from tests.integration.test_operator_verbs import Operator
from tests.integration.test_rules import LOADED
from tests.unit.alerts.machine import Machine


@pytest.fixture
def operator(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    monkeypatch.setenv("DERMAFLEET_DATABASE_URL", database_url)
    return Operator(monkeypatch, capsys)


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    site = Site(database_url, make_engine(database_url, 1))
    yield site
    site.connection.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rule.json"
    path.write_bytes(msgspec.json.encode(LOADED))
    return path


def test_a_rule_is_added_activated_shown_and_retired(operator: Operator, file: Path) -> None:
    assert operator.types("rule", "add", str(file)) == (0, "rule loaded has a draft, version 1\n")
    assert operator.types("rule", "activate", "loaded") == (0, "rule loaded: version 1 is active\n")
    assert operator.types("rule", "add", str(file)) == (0, "rule loaded has a draft, version 2\n")
    _, printed = operator.types("rule", "list", "--json")
    [listed] = json.loads(printed)
    assert (listed["key"], listed["active"], listed["newest"]) == ("loaded", 1, 2)
    _, printed = operator.types("rule", "show", "loaded")
    assert "version 1, active: filter_dp_kpa above 2 for 9 s" in printed
    assert operator.types("rule", "retire", "loaded") == (0, "rule loaded is retired\n")
    assert operator.types("rule", "retire", "loaded") == (1, "dermafleet: no version of rule 'loaded' is active\n")
    assert operator.types("rule", "show", "other") == (1, "dermafleet: there is no rule 'other'\n")


def test_a_bad_rule_is_refused_in_one_line_that_names_the_field(operator: Operator, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(msgspec.json.encode({**msgspec.to_builtins(LOADED), "clear_level": 9}))
    code, printed = operator.types("rule", "add", str(bad))
    assert (code, printed) == (1, "dermafleet: rule.clear_level: is 9.0, must be at most the level 2.0\n")


def test_a_rule_is_tried_from_a_file_before_it_is_stored(operator: Operator, site: Site, file: Path) -> None:
    site.add("D-0001")
    machine = Machine(now_ms=int(time.time() * 1000) - 3_600_000)
    machine.open()
    machine.block([0.2] * 8)
    machine.block([0.6] * 8)
    site.deliver("D-0001", machine.log)
    code, printed = operator.types("rule", "backtest", str(file), "--days", "1", "--json")
    assert code == 0, printed
    tried = json.loads(printed)
    assert (tried["fired"], tried["devices"][0]["device_id"], tried["samples"]) == (1, "D-0001", 16)
    code, printed = operator.types("rule", "backtest", str(file), "--days", "1", "--device", "D-2")
    assert "it would have fired 0 times" in printed
    assert "left out: D-2: not in service" in printed
    assert operator.types("rule", "list", "--json") == (0, "[]\n")
