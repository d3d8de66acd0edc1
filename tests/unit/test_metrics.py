import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from dermafleet import metrics
from dermafleet.errors import SettingError


class Readiness:
    reason: str | None = "database: not reachable"

    def __call__(self) -> str | None:
        return self.reason


@pytest.fixture
def ready() -> Readiness:
    return Readiness()


@pytest.fixture
def endpoint(ready: Readiness) -> Iterator[metrics.Endpoint]:
    with metrics.serve("127.0.0.1", 0, ready) as running:
        yield running


def get(endpoint: metrics.Endpoint, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_running_process_is_healthy_even_when_not_ready(endpoint: metrics.Endpoint) -> None:
    assert get(endpoint, "/healthz") == (200, "ok\n")


def test_readiness_gives_its_reason_until_ready(endpoint: metrics.Endpoint, ready: Readiness) -> None:
    assert get(endpoint, "/readyz") == (503, "database: not reachable\n")

    ready.reason = None

    assert get(endpoint, "/readyz?verbose") == (200, "ready\n")


def test_metrics_are_in_the_text_format(endpoint: metrics.Endpoint) -> None:
    status, text = get(endpoint, "/metrics")

    assert status == 200
    assert "# TYPE python_info gauge" in text


def test_other_paths_are_not_found(endpoint: metrics.Endpoint) -> None:
    assert get(endpoint, "/")[0] == 404


def test_a_taken_port_names_the_setting(endpoint: metrics.Endpoint) -> None:
    with pytest.raises(SettingError, match="DERMAFLEET_METRICS_PORT: cannot listen on 127"):
        metrics.serve("127.0.0.1", endpoint.port, lambda: None)


def test_a_closed_endpoint_frees_its_port() -> None:
    first = metrics.serve("127.0.0.1", 0, lambda: None)
    first.close()

    with metrics.serve("127.0.0.1", first.port, lambda: None) as second:
        assert get(second, "/readyz")[0] == 200
