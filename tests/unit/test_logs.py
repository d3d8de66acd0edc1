import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog

from dermafleet import logs


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def configured(*, as_json: bool = False) -> io.StringIO:
    stream = io.StringIO()
    logs.configure("ingest", json=as_json, stream=stream)
    return stream


def test_a_line_has_time_level_process_sentence_and_fields() -> None:
    out = configured()

    logs.get_logger().info("Connected to the broker", broker="127.0.0.1:1883", note="two words", tries=3)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z info ingest: Connected to the broker"
        r" broker=127\.0\.0\.1:1883 note='two words' tries=3\n",
        out.getvalue(),
    )


def test_json_lines_are_objects() -> None:
    out = configured(as_json=True)

    logs.get_logger().warning("Slow", seconds=1.5, at=None)

    line = json.loads(out.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "Slow", "level": "warning", "process": "ingest", "seconds": 1.5, "at": None}


def test_libraries_log_in_the_same_form() -> None:
    out = configured()

    logging.getLogger("paho").warning("lost %s", "mqtt://user:hidden@host")
    logging.getLogger("uvicorn.access").info("GET /")

    assert out.getvalue().endswith(" warning ingest: lost mqtt://user:***@host\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_secrets_never_reach_the_log(as_json: bool) -> None:
    out = configured(as_json=as_json)
    log = logs.get_logger()

    log.info("Opening postgresql://user:hidden@host/db", url="mqtts://user:hid/den@host", password="hidden")
    log.info("Asking", header="Bearer flt_0123_hidden-hidden", settings={"url": "ws://u:hidden@h"}, api_key="hidden")
    log.info("Starting", mqtt_url="mqtt://u:hid@den@host")
    log.info("Connecting", dsn="host=localhost password=hidden dbname=x")
    try:
        raise ValueError("cannot reach postgresql://user:hidden@host/db")
    except ValueError:
        log.exception("Failed")

    assert "hidden" not in out.getvalue()
    assert "hid/den" not in out.getvalue()
    assert "den@host" not in out.getvalue()
    assert "cannot reach postgresql://user:***@host/db" in out.getvalue()


def test_a_logger_taken_before_configuration_follows_it() -> None:
    log = logs.get_logger()

    out = configured()
    log.debug("too fine")
    log.info("Started")

    assert out.getvalue().endswith(" info ingest: Started\n")


@pytest.mark.parametrize("text", ["https://host/path?a=b@c", "mqtt://host:1883", "mail me@example.org", "12:30:01"])
def test_what_is_no_secret_stays(text: str) -> None:
    assert logs.mask(text) == text
