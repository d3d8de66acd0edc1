"""Users' rules on a real database: what the follower makes of them, from their activation on."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dermafleet.contracts.rules import Rule
from dermafleet.contracts.telemetry import Telemetry
from dermafleet.storage import rules
from dermafleet.storage.engine import make_engine
from tests.integration.test_follower import Site
from tests.unit.alerts.machine import Machine

LOADED = Rule(
    key="loaded",
    name="Filter is loaded",
    quantity="filter_dp_kpa",
    comparison="above",
    level=2.0,
    clear_level=1.0,
    duration_s=9.0,
    state="on",
    severity=2,
    message="Look at the filter.",
)


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    engine = make_engine(database_url, 3)
    site = Site(database_url, engine)
    yield site
    site.connection.close()
    await engine.dispose()


async def activate(site: Site, rule: Rule, **changes: Any) -> None:
    rule = msgspec.structs.replace(rule, **changes)
    async with site.engine.begin() as connection:
        if await rules.find_rule(connection, rule.key) is None:
            await rules.add_rule(connection, rule, actor="ann")
        else:
            await rules.add_version(connection, rule, actor="ann")
        await rules.activate(connection, rule.key, actor="ann")


def of_rules(site: Site) -> list[dict[str, Any]]:
    return site.query("select * from alarm where fault like 'rule%%' order by raised_at")


async def test_an_active_rule_raises_its_alarm_and_clears_it(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    await activate(site, LOADED)
    machine.open()
    machine.block([0.2] * 8)
    machine.block([0.6] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    [alarm] = of_rules(site)
    assert (alarm["fault"], alarm["severity"], alarm["standing"]) == ("rule_loaded", 2, "raised")
    assert (alarm["component"], alarm["detector"], alarm["detector_version"]) == ("main", "rule_loaded", 1)
    assert (alarm["detail"]["rule"], alarm["detail"]["message"]) == ("Filter is loaded", "Look at the filter.")
    machine.block([0.1] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    assert of_rules(site)[0]["standing"] == "cleared"


async def test_a_rule_says_nothing_of_what_was_judged_before_it_was_activated(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    machine.open()
    machine.block([0.6] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    await activate(site, LOADED)
    machine.block([0.1] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    assert of_rules(site) == []


async def test_a_retired_rules_alarm_is_cleared_with_the_reason(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    await activate(site, LOADED)
    machine.open()
    machine.block([0.6] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    async with site.engine.begin() as connection:
        await rules.retire(connection, "loaded", actor="ann")
    machine.block([0.6] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    assert of_rules(site)[0]["standing"] == "cleared"
    told = site.query("select reason from alarm_event where transition = 'cleared'")
    assert "retired" in told[0]["reason"]


async def test_an_alarm_and_its_history_name_the_version_that_spoke(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    await activate(site, LOADED)
    machine.open()
    machine.block([0.6] * 8)
    machine.block([0.1] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    await activate(site, LOADED, level=1.5, clear_level=0.5, severity=3)
    machine.block([0.4] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    assert (of_rules(site)[0]["detector_version"], of_rules(site)[0]["severity"]) == (2, 3)
    told = site.query(
        "select transition, e.data from alarm_event e join alarm a on a.id = alarm_id"
        " where fault like 'rule%%' order by e.id"
    )
    assert [(each["transition"], each["data"]["detail"].get("version")) for each in told] == [
        ("raised", 1),
        ("cleared", 1),
        ("reraised", 2),
    ]


async def test_a_rule_about_a_feature_judges_finished_sessions(site: Site) -> None:
    device, machine = site.add("D-0001"), Machine()
    await activate(site, LOADED, quantity="session.filter_index", level=3.0, clear_level=2.0, state="any")
    machine.open()
    for load in (0.2, 4.0):
        machine.treat(f"s{load:.0f}", load=load)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    [alarm] = of_rules(site)
    assert alarm["detail"]["quantity"] == "session.filter_index"
    machine.treat("s9", load=0.1)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    assert of_rules(site)[0]["standing"] == "cleared"


async def test_a_rule_for_another_model_says_nothing(site: Site) -> None:
    site.query("insert into device_model values ('other', 'O', 'full', '{}') returning 1")
    device, machine = site.add("D-0001"), Machine()
    await activate(site, LOADED, models=["other"])
    machine.open()
    machine.block([0.6] * 8)
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    assert of_rules(site) == []


async def test_a_makers_own_channel_is_watched(site: Site) -> None:
    limits = '{"components": {"main": {}, "second": {"pump_temp_c": "temp_b"}}}'
    site.query("update device_model set limits = %s::jsonb returning 1", limits)
    device, machine = site.add("D-0001"), Machine()
    await activate(site, LOADED, quantity="temp_b", level=50.0, clear_level=40.0)
    machine.open()
    machine.block([0.1] * 8)
    told = machine.log[-1].content
    assert isinstance(told, Telemetry)
    machine.log[-1] = replace(
        machine.log[-1], content=msgspec.structs.replace(told, ch={**told.ch, "temp_b": [60.0] * 8})
    )
    site.deliver("D-0001", machine.log)
    await site.follow(device)
    assert of_rules(site)[0]["detail"]["quantity"] == "temp_b"
