"""``dermafleet forecast`` against a real database."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from dermafleet.storage.engine import make_engine
from tests.integration.test_condition import add_life
from tests.integration.test_follower import Site
from tests.integration.test_operator_verbs import Operator


@pytest.fixture
def operator(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    monkeypatch.setenv("DERMAFLEET_DATABASE_URL", database_url)
    return Operator(monkeypatch, capsys)


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    site = Site(database_url, make_engine(database_url, 1))
    yield site
    site.connection.close()


def test_what_ended_filters_taught_is_learned_on_demand_and_shown(operator: Operator, site: Site) -> None:
    assert operator.types("forecast", "show") == (0, "nothing has been learned yet\n")
    asyncio.run(add_life(site, site.add("D-0001"), datetime.now(UTC) - timedelta(hours=2)))
    assert operator.types("forecast", "learn") == (0, "models with a new version: 1\n")
    assert operator.types("forecast", "learn") == (0, "no filter has ended since the last version\n")
    _, printed = operator.types("forecast", "show", "--model", "m", "--json")
    [row] = json.loads(printed)
    assert (row["version"], row["filters"], row["to_their_limit"], row["is_fitted"]) == (1, 1, 1, False)
    assert row["median_h"] == pytest.approx(5000 / 3600, abs=0.05)
    _, printed = operator.types("forecast", "show")
    assert printed.splitlines()[1].split()[:2] == ["m", "1"]
    assert operator.types("forecast", "show", "--model", "other") == (0, "nothing has been learned yet\n")
