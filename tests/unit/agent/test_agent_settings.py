"""Flags win over environment, environment over file, file over defaults; a wrong one is named."""

from pathlib import Path

import pytest

from dermafleet.errors import SettingError
from device_agent.settings import MEANINGS, Settings, load


def test_each_source_wins_over_the_next(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('device_id = "file"\nflush_s = 5\nrate_hz = 4\n')
    environ = {"DERMAFLEET_AGENT_FLUSH_S": "6", "DERMAFLEET_AGENT_RATE_HZ": "7"}
    chosen = load({"rate_hz": "8", "seed": None}, environ, file, {"idle_s": 9.0})
    assert (chosen.device_id, chosen.flush_s, chosen.rate_hz, chosen.idle_s, chosen.seed) == ("file", 6, 8, 9, 1)


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("mqtt://a:b@host\n")
    chosen = load({}, {"DERMAFLEET_AGENT_MQTT_URL_FILE": str(secret)})
    assert chosen.mqtt_url == "mqtt://a:b@host"


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        ({"rate_hz": "fast"}, {}, "--rate-hz: "),
        ({"flush_s": "0"}, {}, "--flush-s: "),
        ({}, {"DERMAFLEET_AGENT_FLUSH_S": "x"}, "DERMAFLEET_AGENT_FLUSH_S: "),
        ({}, {"DERMAFLEET_AGENT_MQTT_URL_FILE": "/nowhere"}, "DERMAFLEET_AGENT_MQTT_URL_FILE: /nowhere: No such file"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, str], environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load(flags, environ)


def test_an_unknown_setting_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("colour = 1\n")
    with pytest.raises(SettingError, match=r"agent\.toml: colour: there is no such setting"):
        load({}, {}, file)


@pytest.mark.parametrize(
    ("device_id", "url", "message"),
    [
        ("", "mqtt://h", "device_id"),
        ("D-1", "", "mqtt_url"),
        ("D/1", "mqtt://h", "device_id"),
        ("D-1", "h", r"^mqtt_url \(DERMAFLEET_AGENT_MQTT_URL\): must be like"),
    ],
)
def test_a_link_needs_a_device_and_a_broker(device_id: str, url: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        load({}, {}).link(device_id, url)


def test_several_brokers_are_tried_in_turn() -> None:
    link = load({}, {}).link("D-1", "mqtt://u:p@one, mqtts://two:1234")
    assert [str(broker) for broker in link.brokers] == ["one:1883", "two:1234"]


def test_every_setting_has_a_meaning_to_show() -> None:
    assert MEANINGS.keys() == set(Settings.__struct_fields__)
