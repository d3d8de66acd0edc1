"""``./fleet demo``: the whole of Dermafleet on one machine, with simulated devices, until Ctrl-C.

With a report to write, or recordings to replay, it starts on an empty database and empty outboxes beside those of the
ordinary demo, so that what it counts is what it did.
"""

import asyncio
import contextlib
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dermafleet.contracts.topics import Topics
from dermafleet.embedded import broker, fleet, parts
from dermafleet.embedded.folder import DemoFolder
from dermafleet.embedded.options import Options
from dermafleet.embedded.output import Output
from dermafleet.embedded.postgres import DATABASE, ensure_database, open_cluster, recreate_database
from dermafleet.embedded.processes import Process
from dermafleet.embedded.program import Ready
from dermafleet.embedded.report import Report, make_report
from dermafleet.embedded.supervisor import Supervisor
from dermafleet.errors import PermanentError, SettingError, TransientError
from dermafleet.settings import Settings
from dermafleet.storage import migrate, seed
from dermafleet.storage.accounts import create_api_key, create_user
from dermafleet.storage.engine import connect
from dermafleet.storage.totals import count_evaluated_until, count_heard, count_unevaluated

EMAIL = "demo@dermafleet.example"
_MEASURED = "measured"
"""Database and folder of a run that reports."""
_CLOG_S = 60.0
_REPLAY_SPEED = 36_000.0
_REPLAY_SECONDS_PER_SECOND = 3600
_CATCH_UP_S = 60.0
"""With a speed, event time starts so far in the past that it reaches the present after this long."""
_STOP_S = 3.0
_DRAIN_S = 20.0
"""How long, after the machines have ended, the follower may take to reach the end of their logs."""
_POLL_S = 0.2
_API_PORTS = 3
_MACHINES, _LATER, _HISTORY = "machines", "machines-2", "history"
"""Programs: machines that are live at once, those that come later, and what writes the past of these."""
_HISTORY_POLL_S = 2.0


@dataclass(frozen=True, slots=True)
class _Access:
    """How to reach the parts that are running."""

    database_url: str
    device_mqtt_urls: Mapping[str, str]
    password: str
    api_key: str
    api_url: str


def run(options: Options) -> int:
    """Run the demo until Ctrl-C, SIGTERM, the end of the time or of the replay.

    Returns:
        The exit status: 1 if samples were lost.

    Raises:
        DermafleetError: it cannot start; the message says why.
    """
    settings = Settings.load()
    if options.replay is not None and not options.replay.is_dir():
        raise SettingError(f"--replay {options.replay}: no such folder")
    parts.choose_api_port(options.port)  # raises if the port asked for is taken
    with DemoFolder(options.data_dir) as folder:
        return asyncio.run(_Demo(options, settings, folder).run())


class _Demo:
    """One run: what is started, and what `demo.json` says of it."""

    def __init__(self, options: Options, settings: Settings, folder: DemoFolder) -> None:
        self._options = options
        self._settings = settings
        self._folder = folder
        self._pids: dict[str, int] = {}
        self._access: _Access | None = None
        self._output = Output(folder.path / "logs", verbose=options.verbose)
        self._supervisor = Supervisor(self._output, self._note)
        self._devices = (
            fleet.machines(options.devices, model=fleet.BENCH)
            if options.replay is not None
            else fleet.treatment_machines(options.devices)
        )
        self._device_ids = [device.device_id for device in self._devices]

    async def run(self) -> int:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        work = asyncio.create_task(self._work())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            print("\nstopping", flush=True)
            return 0
        finally:
            for task in (work, stopping):
                task.cancel()
            await asyncio.gather(work, stopping, return_exceptions=True)
            await self._stop_machines(_STOP_S / 2)
            await self._supervisor.stop(_STOP_S / 2)

    async def _work(self) -> int:
        """Start everything, consumers before producers, and stay for as long as the options say."""
        if self._options.is_measured:
            shutil.rmtree(self._folder.path / _MEASURED, ignore_errors=True)
        database_url = await self._start_database()
        password, api_key = await asyncio.to_thread(self._fill, database_url)
        ingest_url, device_urls = await self._start_broker()
        environ = {
            "DERMAFLEET_DATABASE_URL": database_url,
            "DERMAFLEET_MQTT_URL": ingest_url,
            "DERMAFLEET_AUTO_APPROVE": "true",
        }
        *_, api_url = await asyncio.gather(
            self._supervisor.start(parts.service("ingest", environ)),
            self._supervisor.start(parts.service("alerts", environ)),
            self._start_api(environ, api_key),
        )
        access = _Access(database_url, device_urls, password, api_key, api_url)
        await self._start_machines(access, [each for each in self._device_ids if each not in self._without_past()])
        self._access = access
        self._describe()
        self._greet(access)
        history = asyncio.create_task(self._bring_history(access))
        try:
            ended = await self._stay(access)
        finally:
            history.cancel()  # before the machines are stopped: it must not start more of them
            await asyncio.gather(history, return_exceptions=True)
        return await self._finish(access, ended=ended) if self._options.is_measured else 0

    async def _start_database(self) -> str:
        """Start PostgreSQL unless there is one; returns the URL of a database with our schema."""
        url = self._settings.database_url.get_secret_value()
        if not url:
            cluster = await asyncio.to_thread(open_cluster, self._folder.path / "postgres")
            await self._supervisor.start(cluster.program)
            if self._options.is_measured:
                await asyncio.to_thread(recreate_database, cluster, _MEASURED)
                url = cluster.url(_MEASURED)
            else:
                await asyncio.to_thread(ensure_database, cluster)
                url = cluster.url(DATABASE)
        await asyncio.to_thread(_migrate, url)
        return url

    def _fill(self, database_url: str) -> tuple[str, str]:
        """Add sites, models and devices that are not there yet; returns a new password and API key of the user."""
        devices = [*self._devices, fleet.guest()]
        password = secrets.token_urlsafe(12)
        with connect(database_url, application_name="dermafleet-demo") as connection:
            fleet.plant(connection, devices)
            create_user(connection, EMAIL, password)
            seed.drop_api_keys(connection, "demo")
            return password, create_api_key(connection, EMAIL, "demo")

    async def _start_broker(self) -> tuple[str, dict[str, str]]:
        """Start the broker unless there is one; returns the URLs of ingest and of each device."""
        device_ids = [*self._device_ids, fleet.GUEST]
        given = ",".join(url.get_secret_value() for url in self._settings.mqtt_url)
        if given:  # somebody else's broker: its one user is all we have
            return given, dict.fromkeys(device_ids, given)
        topics: Topics = self._settings.topics
        users = [broker.service("ingest", topics), *(broker.device(each, topics) for each in device_ids)]
        server = broker.open_broker(self._folder.path / "broker", users)
        await self._supervisor.start(server.program)
        return server.url("ingest"), {each: server.url(each) for each in device_ids}

    async def _start_api(self, environ: Mapping[str, str], api_key: str) -> str:
        """Start the API and return its address; another program may take a free port before it does."""
        for attempts_left in reversed(range(_API_PORTS if self._options.port is None else 1)):
            port = parts.choose_api_port(self._options.port)
            try:
                await self._supervisor.start(parts.api(environ, port, api_key))
            except PermanentError:
                if not attempts_left:
                    raise
                continue
            return f"http://{parts.HOST}:{port}"
        raise AssertionError("the last attempt returns or raises")

    async def _start_machines(self, access: _Access, device_ids: Sequence[str], name: str = _MACHINES) -> None:
        """Start a process with these machines; it works when the first of them is heard of."""
        machines = self._machines(
            access, device_ids, self._live_arguments(), name, once=self._options.replay is not None
        )
        ready = self._first_heard(access, device_ids)
        await self._supervisor.start(machines.program(self._machine_folder, self._oracle, ready))

    def _machines(
        self, access: _Access, device_ids: Sequence[str], arguments: Sequence[str], name: str, *, once: bool
    ) -> parts.Machines:
        return parts.Machines(
            mqtt_urls={each: access.device_mqtt_urls[each] for each in device_ids},
            traits=self._traits(),
            arguments=arguments,
            once=once,
            name=name,
        )

    def _traits(self) -> Mapping[str, Mapping[str, object]]:
        """What the simulator needs to know of each machine."""
        traits = fleet.traits(self._devices, seed=self._options.seed)
        if self._options.history_days:
            for device_id, past in fleet.pasts(self._with_past).items():
                traits[device_id] |= past
        if self._options.replay is None:
            traits[self._device_ids[0]] |= {"fault": "filter_clogged", "clog_s": _CLOG_S}
        return traits

    @property
    def _with_past(self) -> Sequence[str]:
        return self._device_ids[fleet.live_at_once(self._options.devices) :] if self._options.history_days else []

    def _without_past(self) -> Sequence[str]:
        """The machines whose past is not written yet, or not all of it."""
        return [each for each in self._with_past if not (self._machine_folder / each / "past.json").exists()]

    async def _bring_history(self, access: _Access) -> None:
        """Have the past of machines written into their outboxes, then let them go live; tell when all has arrived."""
        device_ids, days = self._without_past(), self._options.history_days
        if not device_ids:
            return
        print(f"history: {days} days of {len(device_ids)} machines are being simulated; they connect later", flush=True)
        try:
            await self._write_past(access, device_ids, days)
            began = datetime.now(UTC)
            await self._start_machines(access, device_ids, _LATER)
        except PermanentError as error:
            self._output.say(_HISTORY, str(error))
            return
        print(f"history: {len(device_ids)} machines are connected and deliver their {days} days", flush=True)

        def arrived() -> bool:
            with connect(access.database_url, application_name="dermafleet-demo") as connection:
                return count_evaluated_until(connection, device_ids, since=began) == len(device_ids)

        while True:
            with contextlib.suppress(TransientError):
                if await asyncio.to_thread(arrived):
                    break
            await asyncio.sleep(_HISTORY_POLL_S)
        print(f"history: {days} days of {len(device_ids)} machines have arrived and are evaluated", flush=True)

    async def _write_past(self, access: _Access, device_ids: Sequence[str], days: int) -> None:
        """Run the program that writes it, to its end."""
        arguments = ["history", "--days", str(days)]
        history = self._machines(access, device_ids, arguments, _HISTORY, once=True)
        await self._supervisor.start(history.program(self._machine_folder, self._oracle, lambda: None))
        await self._supervisor.wait(_HISTORY)
        await self._supervisor.stop_program(_HISTORY, _STOP_S)

    def _live_arguments(self) -> list[str]:
        options = self._options
        if options.replay is not None:
            arguments = ["replay", "--input", str(options.replay.absolute())]
            arguments += ["--speed", str(options.speed or _REPLAY_SPEED)]
            arguments += ["--seconds-per-second", str(_REPLAY_SECONDS_PER_SECOND)]
        else:
            arguments = ["simulate"]
            if options.speed is not None and options.speed > 1:
                history_s = _CATCH_UP_S * (options.speed - 1)  # event time gains so much on wall time until they meet
                arguments += ["--speed", str(options.speed), "--history-s", str(history_s)]
        return arguments

    @property
    def _machine_folder(self) -> Path:
        return self._folder.path / (f"{_MEASURED}/machines" if self._options.is_measured else "machines")

    @property
    def _oracle(self) -> Path | None:
        return self._folder.path / _MEASURED / "oracle" if self._options.is_measured else None

    def _first_heard(self, access: _Access, device_ids: Sequence[str]) -> Ready:
        """Ready when the first of these machines is heard of."""
        started_at = datetime.now(UTC)

        def ready() -> str | None:
            with connect(access.database_url, application_name="dermafleet-demo") as connection:
                heard = count_heard(connection, device_ids, since=started_at)
            return None if heard else "no machine has been heard of"

        return ready

    async def _stay(self, access: _Access) -> bool:
        """Stay until the time is up; True = the replay came to its end before."""
        options = self._options
        ended = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.run_for_s):
                if options.replay is None:
                    await asyncio.Event().wait()
                await self._supervisor.wait(_MACHINES)
                ended = True
                await self._follower_caught_up(access)
        return ended

    async def _finish(self, access: _Access, *, ended: bool) -> int:
        """Stop the machines, let the follower come to the end, and report; returns the exit status."""
        await self._stop_machines(_STOP_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._follower_caught_up(access)
        report = await asyncio.to_thread(self._report, access)
        if not ended:
            print("time is up: what the machines have not delivered stays on their disks", flush=True)
        return 1 if report.entries_lost or (ended and not report.is_lossless) else 0

    async def _stop_machines(self, within_s: float) -> None:
        """End all programs of machines at the same time."""
        names = (_HISTORY, _LATER, _MACHINES)
        await asyncio.gather(*(self._supervisor.stop_program(name, within_s) for name in names))

    async def _follower_caught_up(self, access: _Access) -> None:
        def behind() -> int:
            with connect(access.database_url, application_name="dermafleet-demo") as connection:
                return count_unevaluated(connection, self._device_ids)

        while await asyncio.to_thread(behind):  # noqa: ASYNC110  # the condition is in the database
            await asyncio.sleep(_POLL_S)

    def _report(self, access: _Access) -> Report:
        assert self._oracle is not None
        with connect(access.database_url, application_name="dermafleet-demo") as connection:
            report = make_report(connection, self._device_ids, self._oracle)
        if self._options.report is not None:
            self._options.report.write_text(report.to_json())
        print(report.to_json(), end="", flush=True)
        return report

    def _note(self, processes: Mapping[str, Process]) -> None:
        self._folder.record(processes)
        self._pids = {name: process.pid for name, process in processes.items()}
        if self._access is not None:
            self._describe()

    def _describe(self) -> None:
        assert self._access is not None
        access = self._access
        self._folder.describe(
            {
                "api_url": access.api_url,
                "email": EMAIL,
                "password": access.password,
                "api_key": access.api_key,
                "mqtt_url": access.device_mqtt_urls[fleet.GUEST],
                "database_url": access.database_url,
                "pids": self._pids,
            }
        )

    def _greet(self, access: _Access) -> None:
        print(
            f"\nDermafleet runs at {access.api_url}\n"
            f"  e-mail    {EMAIL}\n"
            f"  password  {access.password}\n"
            f"  details   {self._folder.demo_file}\n"
            f"  logs      {self._folder.path / 'logs'}\n"
            "Ctrl-C stops everything.\n",
            flush=True,
        )


def _migrate(url: str) -> None:
    """Bring the schema up to date; looks first, because loading alembic takes half a second."""
    if migrate.current(url) != migrate.REVISION:
        migrate.upgrade(url)
