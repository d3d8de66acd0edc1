"""The operator's verbs against a real database."""

import json
import sys
from pathlib import Path

import psycopg
import pytest

from dermafleet import cli
from dermafleet.storage.migrate import REVISION
from tests.builders import Builder


class Operator:
    """Someone who types ``dermafleet …`` and reads what comes back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def types(self, *arguments: str) -> tuple[int, str]:
        """The exit code, and what was printed on either stream."""
        self._monkeypatch.setattr(sys, "argv", ["dermafleet", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out + printed.err


@pytest.fixture
def operator(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    monkeypatch.setenv("DERMAFLEET_DATABASE_URL", database_url)
    return Operator(monkeypatch, capsys)


def test_the_schema_is_named_and_upgrading_it_again_changes_nothing(operator: Operator) -> None:
    assert operator.types("db", "upgrade") == (0, f"schema {REVISION}\n")
    assert operator.types("db", "current") == (0, f"{REVISION}\n")
    assert operator.types("db", "wait", "--timeout", "1") == (0, "")

    _, printed = operator.types("db", "current", "--json")

    assert json.loads(printed) == {"revision": REVISION, "newest": REVISION}


def test_a_user_is_added_with_a_password_from_a_file(operator: Operator, database_url: str, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct horse battery\n")

    code, printed = operator.types("user", "add", "Ann@Example.org", "--role", "viewer", "--password-file", str(secret))

    assert (code, printed) == (0, "user ann@example.org, viewer\n")
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select email, role, password_hash from user_account").fetchone()
    assert row is not None
    assert row[:2] == ("ann@example.org", "viewer")
    assert "correct" not in row[2]


def test_a_short_password_is_refused_in_one_line(operator: Operator, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("short\n")

    code, printed = operator.types("user", "add", "ann@example.org", "--password-file", str(secret))

    assert code == 1
    assert printed == "dermafleet: a password has at least 12 characters\n"


def test_a_device_is_added_suspended_and_approved(operator: Operator, database_url: str) -> None:
    assert operator.types("device", "add", "D-1", "--label", "SN 4711") == (0, "device D-1 is active\n")
    assert operator.types("device", "suspend", "D-1") == (0, "device D-1 is suspended\n")
    assert operator.types("device", "suspend", "D-1") == (0, "device D-1 was already suspended\n")
    assert operator.types("device", "approve", "D-1") == (0, "device D-1 is active\n")

    _, printed = operator.types("device", "list", "--json")

    [listed] = json.loads(printed)
    assert listed.pop("created_at").endswith("Z")
    assert listed == {"device_id": "D-1", "label": "SN 4711", "state": "active", "model": None}
    with psycopg.connect(database_url) as connection:
        changes = connection.execute(
            "select body ->> 'state' from change where topic = 'device' order by id"
        ).fetchall()
    assert changes == [("active",), ("suspended",), ("active",)]


def test_a_device_on_hold_is_listed_and_approved(operator: Operator, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into device (device_id, label, state) values ('D-2', 'D-2', 'pending')")

    _, listed = operator.types("device", "list", "--state", "pending")
    assert listed == "device_id  label  state    model\nD-2        D-2    pending  -\n"

    assert operator.types("device", "approve", "D-2") == (0, "device D-2 is active\n")
    assert operator.types("device", "list", "--state", "pending") == (0, "device_id  label  state  model\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("add", "D 1"), "device id: 'D 1' must be 1 to 64 of A-Z a-z 0-9 _ -"),
        (("add", "D-1", "--model", "none-such"), "there is no device model 'none-such'"),
        (("approve", "D-9"), "there is no device D-9"),
        (("approve", "GONE"), "device GONE is revoked: it cannot become active"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: tuple[str, ...], complaint: str, operator: Operator, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into device (device_id, label, state) values ('GONE', 'GONE', 'revoked')")

    code, printed = operator.types("device", *arguments)

    assert code in (1, 2)
    assert printed == f"dermafleet: {complaint}\n"


def test_a_device_is_not_added_twice(operator: Operator) -> None:
    operator.types("device", "add", "D-1")

    assert operator.types("device", "add", "D-1") == (1, "dermafleet: device D-1 exists already\n")


def test_quarantine_is_listed_and_emptied_by_choice(operator: Operator, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        build = Builder(connection)
        for device_id, reason in (("D-1", "not JSON"), ("D-1", "too long"), ("D-2", "not JSON")):
            build.refusal(device_id, reason)
        connection.execute("update quarantine set received_at = now() - interval '2 days' where device_id = 'D-2'")

    def reasons(*choice: str) -> list[tuple[str, str]]:
        code, printed = operator.types("quarantine", "list", *choice, "--json")
        assert code == 0
        return [(row["device_id"], row["reason"]) for row in json.loads(printed)]

    assert reasons("--device", "D-1") == [("D-1", "too long"), ("D-1", "not JSON")]
    assert "too long" in operator.types("quarantine", "list", "--limit", "2")[1]

    assert operator.types("quarantine", "drop", "--reason", "long") == (0, "1 dropped\n")
    assert reasons() == [("D-2", "not JSON"), ("D-1", "not JSON")]
    assert operator.types("quarantine", "drop", "--older-than", "1", "--device", "D-2") == (0, "1 dropped\n")
    assert operator.types("quarantine", "drop")[0] == 2
    assert operator.types("quarantine", "drop", "--all") == (0, "1 dropped\n")
    assert reasons() == []
