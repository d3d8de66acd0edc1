from pathlib import Path

import pytest

from dermafleet.contracts.topics import SHARDS
from dermafleet.errors import SettingError
from dermafleet.mqtt import parse_url
from dermafleet.settings import Settings


def test_defaults_need_no_environment() -> None:
    settings = Settings.load({})

    assert settings.shards == SHARDS
    assert settings.metrics_port is None
    assert not settings.auto_approve


def test_environment_names_begin_with_dermafleet() -> None:
    settings = Settings.load({"DERMAFLEET_API_PORT": "0", "DERMAFLEET_AUTO_APPROVE": "true", "API_HOST": "0.0.0.0"})

    assert settings.api_port == 0
    assert settings.auto_approve
    assert settings.api_host == "127.0.0.1"


def test_several_brokers_are_separated_by_commas() -> None:
    settings = Settings.load({"DERMAFLEET_MQTT_URL": "mqtt://a:b@one:1883, mqtt://a:b@two:1883,"})

    assert settings.need_brokers() == ["mqtt://a:b@one:1883", "mqtt://a:b@two:1883"]


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://user:pw@host/db\n")

    settings = Settings.load({"DERMAFLEET_DATABASE_URL_FILE": str(secret)})

    assert settings.need_database() == "postgresql://user:pw@host/db"


def test_the_variable_itself_wins_over_its_file(tmp_path: Path) -> None:
    environ = {"DERMAFLEET_API_PORT": "1", "DERMAFLEET_API_PORT_FILE": str(tmp_path / "gone")}

    assert Settings.load(environ).api_port == 1


def test_an_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"DERMAFLEET_DATABASE_URL_FILE: .*gone: No such file"):
        Settings.load({"DERMAFLEET_DATABASE_URL_FILE": str(tmp_path / "gone")})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DERMAFLEET_API_PORT", "http"),
        ("DERMAFLEET_API_PORT", "70000"),
        ("DERMAFLEET_SHARDS", "0g"),
        ("DERMAFLEET_SHARDS", ""),
        ("DERMAFLEET_PAYLOAD_BYTES", "12"),
        ("DERMAFLEET_STOP_S", "0"),
        ("DERMAFLEET_AUTO_APPROVE", "perhaps"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(variable: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{variable}: ") as caught:
        Settings.load({variable: value})

    assert "\n" not in str(caught.value)


def test_needed_but_absent_settings_say_how_to_set_them() -> None:
    settings = Settings.load({})

    with pytest.raises(SettingError, match="DERMAFLEET_DATABASE_URL is not set; for example postgresql://"):
        settings.need_database()
    with pytest.raises(SettingError, match="DERMAFLEET_MQTT_URL is not set; for example mqtt://"):
        settings.need_brokers()


def test_passwords_do_not_show_in_the_settings_text() -> None:
    settings = Settings.load(
        {"DERMAFLEET_DATABASE_URL": "postgresql://u:hidden@h/d", "DERMAFLEET_MQTT_URL": "mqtt://u:hidden@h"}
    )

    assert "hidden" not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:hidden@host/db",
        "postgresql://u:hid%den@host/db",
        "postgresql://u:hid@den@host/db",
        "postgresql://u:hid/den@host/db",
    ],
)
def test_a_database_url_that_libpq_would_quote_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingError, match=r"^DERMAFLEET_DATABASE_URL: is no PostgreSQL URL") as refused:
        Settings.load({"DERMAFLEET_DATABASE_URL": url})
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize("url", ["mqtt://[::1", "mqtt://u:hid/den@host:1883"])
def test_a_broker_url_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingError, match=r"^DERMAFLEET_MQTT_URL: ") as refused:
        parse_url(url, "DERMAFLEET_MQTT_URL")
    assert "hid" not in str(refused.value)
