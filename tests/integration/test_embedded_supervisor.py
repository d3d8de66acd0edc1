"""The supervisor, with small programs of its own, and what becomes of its children when it is killed."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from dermafleet.embedded.folder import DemoFolder
from dermafleet.embedded.output import Output
from dermafleet.embedded.postgres import open_cluster
from dermafleet.embedded.processes import Process
from dermafleet.embedded.program import Child, Program
from dermafleet.embedded.supervisor import Supervisor
from dermafleet.errors import PermanentError

DEADLINE_S = 20

SERVE = """
import pathlib, signal, sys
name, journal = sys.argv[1], pathlib.Path(sys.argv[2])
def note(word):
    with journal.open("a") as file: file.write(f"{name} {word}\\n")
def stop(*_):
    note("stops"); sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in sys.argv else stop)
note("runs"); print(f"{name}: WARNING running", flush=True)
while True: signal.pause()
"""


class Watched:
    """A supervisor whose changes can be awaited."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "journal"
        self.journal.touch()
        self.processes: dict[str, Process] = {}
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.supervisor = Supervisor(Output(folder / "logs", colour=False), self._note)

    def program(self, name: str, *arguments: str) -> Program:
        def ready() -> str | None:
            return None if f"{name} runs" in self.lines else "has not written its line"

        return Program(
            name=name, argv=(sys.executable, "-I", "-c", SERVE, name, str(self.journal), *arguments), ready=ready
        )

    @property
    def lines(self) -> list[str]:
        return self.journal.read_text().splitlines()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with self._changed, asyncio.timeout(DEADLINE_S):
            await self._changed.wait_for(condition)

    def _note(self, processes: Mapping[str, Process]) -> None:
        self.processes = dict(processes)
        task = asyncio.create_task(self._tell())
        self._tasks.add(task)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    await watched.supervisor.stop(2)


async def test_programs_start_in_order_and_stop_in_reverse(watched: Watched) -> None:
    for name in ("first", "second", "third"):
        await watched.supervisor.start(watched.program(name))
    await watched.supervisor.stop(6)
    assert watched.lines == ["first runs", "second runs", "third runs", "third stops", "second stops", "first stops"]


async def test_killed_program_is_started_again_with_growing_delay(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    await watched.supervisor.start(watched.program("worker"))
    for _ in range(2):
        old = watched.processes["worker"]
        old.end(signal.SIGKILL, timeout_s=DEADLINE_S)
        await watched.until(lambda old=old: watched.processes["worker"] != old)  # type: ignore[misc]
    said = [line for line in capsys.readouterr().err.splitlines() if "starts again" in line]
    first_s, second_s = (float(line.split()[-2]) for line in said)
    assert 0.1 <= first_s <= second_s <= 0.5
    assert all("killed by SIGKILL" in line for line in said)


async def test_program_that_fails_at_once_is_an_error_with_its_last_words(watched: Watched) -> None:
    script = "import sys; print('the port is taken'); sys.exit(3)"
    program = Program(name="broken", argv=(sys.executable, "-I", "-c", script), ready=lambda: "never")
    with pytest.raises(PermanentError, match="broken did not start: the port is taken"):
        await watched.supervisor.start(program)


async def test_program_that_runs_once_is_not_started_again(watched: Watched) -> None:
    program = Program(name="task", argv=(sys.executable, "-I", "-c", "pass"), once=True)
    await watched.supervisor.start(program)
    assert await watched.supervisor.wait("task") == 0


async def test_deaf_program_is_killed_within_the_time_given(watched: Watched) -> None:
    await watched.supervisor.start(watched.program("deaf", "deaf"))
    await watched.supervisor.start(watched.program("polite"))
    process, started = watched.processes["deaf"], time.monotonic()
    await watched.supervisor.stop(2)
    assert time.monotonic() - started < 3
    assert not process.is_alive()


async def test_output_goes_to_a_file_and_trouble_to_the_terminal_under_its_name(
    watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await watched.supervisor.start(watched.program("loud"))
    await watched.supervisor.stop(2)
    assert "loud: WARNING running" in (tmp_path / "logs" / "loud.log").read_text()
    assert "loud     | loud: WARNING running" in capsys.readouterr().err


async def test_line_longer_than_any_buffer_is_copied_whole(watched: Watched, tmp_path: Path) -> None:
    script = "print('x' * 1_000_000); print('end')"
    await watched.supervisor.start(Program(name="long", argv=(sys.executable, "-I", "-c", script), once=True))
    await watched.supervisor.wait("long")
    assert (tmp_path / "logs" / "long.log").read_bytes() == b"x" * 1_000_000 + b"\nend\n"


PARENT = """
import asyncio, json, pathlib, sys
from dermafleet.embedded.output import Output
from dermafleet.embedded.postgres import open_cluster
from dermafleet.embedded.program import Program
from dermafleet.embedded.supervisor import Supervisor
folder = pathlib.Path(sys.argv[1])
async def main():
    def tell(processes): known.update(processes)
    known = {}
    supervisor = Supervisor(Output(folder / "logs"), tell)
    await supervisor.start(open_cluster(folder / "postgres", durable=False).program)
    await supervisor.start(Program(name="sleeper", argv=(sys.executable, "-I", "-c", "import signal; signal.pause()")))
    print(json.dumps({name: [each.pid, each.start] for name, each in known.items()}), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = {name: Process(*known) for name, known in json.loads(parent.stdout.readline()).items()}
        assert all(each.is_alive() for each in children.values())
        parent.kill()
    assert [name for name, each in children.items() if not each.wait(DEADLINE_S)] == []
    cluster = open_cluster(tmp_path / "postgres", durable=False)
    with Child(cluster.program, tmp_path / "log"):
        pass


def test_second_demo_in_a_folder_is_refused(tmp_path: Path) -> None:
    second = DemoFolder(tmp_path / "demo")
    with DemoFolder(tmp_path / "demo"), pytest.raises(PermanentError, match=r"already runs in .* another --data-dir"):
        second.__enter__()
    with DemoFolder(tmp_path / "demo") as again:
        again.describe({"password": "x"})
        assert again.demo_file.stat().st_mode & 0o777 == 0o600
        assert again.path.stat().st_mode & 0o777 == 0o700


def test_folder_of_a_killed_demo_is_cleared_of_its_processes_and_of_no_others(tmp_path: Path) -> None:
    script = "import signal; print('up', flush=True); signal.pause()"
    with (
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as left,
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as stranger,
    ):
        for each in (left, stranger):
            assert each.stdout is not None
            each.stdout.readline()
        known, other = Process.find(left.pid), Process.find(stranger.pid)
        assert known is not None
        assert other is not None
        folder = DemoFolder(tmp_path)
        folder.record({"api": known, "ingest": Process(other.pid, "another boot:1")})
        folder.demo_file.write_text("{}")
        with folder:
            assert left.wait(DEADLINE_S) == -signal.SIGTERM
            assert stranger.poll() is None
            assert not folder.demo_file.exists()
        stranger.kill()
