"""The API process: binds its address, serves, and stops in time although browsers hold streams open."""

import errno
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from dermafleet.errors import SettingError
from dermafleet.logs import get_logger
from dermafleet.settings import Settings
from dermafleet.storage.engine import make_engine
from services.api.app import make_app
from services.api.context import Context

POOL_SIZE = 10
"""Connections of one process; requests wait for one, streams hold none."""

_log = get_logger()


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then stop within ``settings.stop_s``.

    Raises:
        SettingError: a setting is missing or wrong, or the address is taken.
    """
    engine = make_engine(settings.need_database(), POOL_SIZE, application_name="dermafleet-api")
    listener = bind(settings.api_host, settings.api_port)
    app = make_app(settings, engine)
    config = uvicorn.Config(
        app,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        # The rest of stop_s is for the tasks beside the requests.
        timeout_graceful_shutdown=max(1, int(settings.stop_s * 0.7)),
    )
    host, port = listener.getsockname()[:2]
    _log.info("Listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    try:
        _Server(config, app).run(sockets=[listener])
    finally:
        listener.close()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 = a free one.

    Raises:
        SettingError: the address is taken, or not one of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingError(f"DERMAFLEET_API_HOST: {host}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingError(f"DERMAFLEET_API_PORT: port {port} is taken on {host}; choose another") from error
        raise SettingError(f"DERMAFLEET_API_PORT: cannot listen on {host}:{port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """A server that ends its streams before it waits for its requests: a stream never ends by itself."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._parts: Context = app.state.context

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, but a stop that was asked for is no error: the signal is not raised again at the end."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._parts.feed.close()
        await super().shutdown(sockets)
        await self._parts.engine.dispose()
