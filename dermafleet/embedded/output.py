"""What the demo's processes print: all of it into a log file each, what matters onto the terminal with their name."""

import asyncio
import contextlib
import itertools
import re
import sys
from pathlib import Path

_ALARMING = re.compile(r"\b(warning|error|critical|fatal|panic|WRN|ERR|FTL|Traceback)\b", re.IGNORECASE)
_EXPECTED = ("Plaintext passwords detected", "FATAL:  the database system is")
"""NATS on its configuration file, which its owner alone may read; PostgreSQL on our probes while it
starts, recovers or stops."""
_COLOURS = (36, 33, 32, 35, 34, 31)
_RESET = "\x1b[0m"
_NAME_WIDTH = 8
_FILE_BYTES = 10 * 1024 * 1024
_TAIL_BYTES = 2000


class Output:
    """Log files in a folder, begun anew by each demo and when they grow large, and the terminal.

    Args:
        verbose: show every line, not only those that look like trouble.
        colour: a colour per process; default: if standard error is a terminal.
    """

    def __init__(self, folder: Path, *, verbose: bool = False, colour: bool | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._verbose = verbose
        self._colour = sys.stderr.isatty() if colour is None else colour
        self._colours = itertools.cycle(_COLOURS)
        self._colour_of: dict[str, int] = {}
        self._begun: set[str] = set()

    def say(self, name: str, line: str) -> None:
        """Show a line of a process, or about it."""
        prefix = f"{name:{_NAME_WIDTH}} |"
        if self._colour:
            colour = self._colour_of.setdefault(name, next(self._colours))
            prefix = f"\x1b[{colour}m{prefix}{_RESET}"
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(f"{prefix} {line}", file=sys.stderr, flush=True)

    async def copy(self, name: str, stream: asyncio.StreamReader) -> None:
        """Follow a process's output until it ends."""
        path = self.log_file(name)
        if name not in self._begun and path.exists():
            path.replace(path.with_suffix(".log.1"))
        self._begun.add(name)
        while line := await _read_line(stream):
            if path.exists() and path.stat().st_size > _FILE_BYTES:
                path.replace(path.with_suffix(".log.1"))
            with path.open("ab") as file:
                file.write(line)
            text = line.decode(errors="replace").rstrip()
            if self._verbose or is_trouble(text):
                self.say(name, text)

    def last_words(self, name: str) -> str:
        """The last line of a process's log, and where to read the rest."""
        path = self.log_file(name)
        end = path.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip() if path.exists() else ""
        return f"{end.splitlines()[-1] if end else 'it said nothing'} (log: {path})"

    def log_file(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def is_trouble(line: str) -> bool:
    """Whether a line of any of the programs' logs is a warning or worse, judged by the words they use for it."""
    return bool(_ALARMING.search(line)) and not any(each in line for each in _EXPECTED)


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """The next line; of one longer than the stream's limit, the next part."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as overrun:
        return await stream.readexactly(max(overrun.consumed, 1))
