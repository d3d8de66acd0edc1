"""What surrounds every request: its id, the headers that protect browsers, a count, and the net below all errors.

Plain ASGI: it wraps streams without holding them, and adds no task between a request and its database connection.
"""

import re
import time
import uuid

from prometheus_client import Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dermafleet.logs import get_logger
from services.api.problems import unexpected

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

MAX_BODY_BYTES = 64 * 1024
"""The largest body that anything here takes is a password."""

REQUESTS = Counter("dermafleet_api_requests_total", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram("dermafleet_api_request_seconds", "Time to the first byte of an answer.", ["route"])

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = get_logger()


class Frame:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        is_started = False

        async def send_framed(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                _add_headers(message, request_id, scope["path"])
                _count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, _limited(receive), send_framed)
        except Exception:
            _log.exception("A request failed", path=scope["path"], request_id=request_id)
            if not is_started:
                await unexpected(scope["path"], request_id)(scope, receive, send_framed)


def _limited(receive: Receive) -> Receive:
    """Receive a body of at most `MAX_BODY_BYTES`; a larger one ends in the problem of a body too large."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise HTTPException(413, f"A request's body has at most {MAX_BODY_BYTES} bytes")
        return message

    return receive_limited


def _request_id(scope: Scope) -> str:
    """The id a proxy gave to the request, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(text := value.decode("latin-1")):
            return str(text)
    return uuid.uuid4().hex


def _add_headers(message: Message, request_id: str, path: str) -> None:
    headers = MutableHeaders(scope=message)
    headers["X-Request-ID"] = request_id
    for name, value in HEADERS.items():
        headers[name] = value
    if path.startswith("/api/") and "cache-control" not in headers:
        headers["Cache-Control"] = "no-store"


def _count(scope: Scope, status: int, seconds: float) -> None:
    """Count by route, never by path: paths are without number."""
    route = getattr(scope.get("route"), "path", "other")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    REQUESTS.labels(method, route, str(status)).inc()
    SECONDS.labels(route).observe(seconds)
