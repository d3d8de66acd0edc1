"""The small HTTP server of a process that is no web server: ``/healthz``, ``/readyz`` and ``/metrics``.

The counters themselves live beside what they count; all register with prometheus-client's default registry.
"""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from dermafleet.errors import SettingError
from dermafleet.logs import get_logger

Ready = Callable[[], str | None]
"""Why the process is not ready to do its work, in a few words; None when it is. Called from other threads."""

_log = get_logger()


class Endpoint:
    """A running server; ends with `close`, or as a context manager."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, name="metrics", args=(0.1,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def serve(host: str, port: int, ready: Ready) -> Endpoint:
    """Serve on `host`:`port` (0 = a free one, see `Endpoint.port`) in a thread of its own.

    ``/healthz`` says that the process runs; ``/readyz`` answers 200, or 503 with the reason `ready` gives.

    Raises:
        SettingError: the address cannot be used.
    """
    try:
        return Endpoint(_Server((host, port), _handler(ready)))
    except OSError as error:
        raise SettingError(f"DERMAFLEET_METRICS_PORT: cannot listen on {host}:{port}: {error.strerror}") from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        _log.exception("Answering a health request failed")


def _handler(ready: Ready) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # a peer that connects and says nothing must not hold a thread

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    self._answer(200, b"ok\n")
                case "/readyz":
                    reason = ready()
                    self._answer(200 if reason is None else 503, f"{reason or 'ready'}\n".encode())
                case "/metrics":
                    encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                    self._answer(200, encode(REGISTRY), content_type)
                case _:
                    self._answer(404, b"not here; try /healthz, /readyz or /metrics\n")

        def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: a probe every few seconds would fill the log."""

    return Handler
