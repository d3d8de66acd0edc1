"""The local socket: how the commands ask and tell the running agent, since it alone may open the outbox.

One line in, one JSON document out. The socket is 0600 in the data folder: whoever may ask may read the file anyway.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

SOCKET_NAME = "agent.sock"

_TIMEOUT_S = 5.0
_MAX_QUESTION_BYTES = 8192

Answers = Mapping[str, Callable[[str], bytes]]
"""First word of a question → what answers it, as JSON, given the rest of the line."""


class LocalServer:
    """Answers questions of this machine's users until `close`."""

    def __init__(self, folder: Path, answers: Answers) -> None:
        self._answers = answers
        self._path = folder / SOCKET_NAME
        self._path.unlink(missing_ok=True)  # left by an agent that was killed: the outbox is locked, so it is gone
        self._socket = socket.socket(socket.AF_UNIX)
        old_mask = os.umask(0o177)
        try:
            with _short(folder) as short:
                self._socket.bind(f"{short}/{SOCKET_NAME}")
        except OSError:
            self._socket.close()
            raise
        finally:
            os.umask(old_mask)
        self._socket.listen(4)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="local", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(_TIMEOUT_S)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            try:
                with client:
                    client.settimeout(_TIMEOUT_S)
                    word, _, rest = _read_line(client).partition(" ")
                    answer = self._answers.get(word)
                    client.sendall(answer(rest) if answer else b'{"error":"unknown question"}')
            except OSError:
                continue  # the asker went away
            except Exception:
                log.exception("a local question failed")


def ask(folder: Path, question: str) -> bytes | None:
    """The running agent's answer; None if no agent runs here."""
    if not (folder / SOCKET_NAME).exists():
        return None
    with socket.socket(socket.AF_UNIX) as client, _short(folder) as short:
        client.settimeout(_TIMEOUT_S)
        try:
            client.connect(f"{short}/{SOCKET_NAME}")
            client.sendall(question.encode() + b"\n")
            parts = []
            while part := client.recv(65536):
                parts.append(part)
        except OSError:
            return None
    return b"".join(parts)


def _read_line(client: socket.socket) -> str:
    """The question, or as much of it as may be one."""
    line = b""
    while b"\n" not in line and len(line) < _MAX_QUESTION_BYTES and (part := client.recv(_MAX_QUESTION_BYTES)):
        line += part
    return line.decode(errors="replace").strip()


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A short name of a folder: a socket's address has 107 bytes, a path may have more."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        proc = f"/proc/self/fd/{descriptor}"
        yield proc if os.path.exists(proc) else str(folder)
    finally:
        os.close(descriptor)
