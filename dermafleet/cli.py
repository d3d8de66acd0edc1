"""``dermafleet``: the server's processes and its operator's verbs.

Nothing of a service is imported until its verb runs: each process loads only its own part.
Exit codes: 0 done · 1 it failed, with one line on standard error · 2 a setting or an argument is wrong.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from dermafleet.cli_detectors import detector
from dermafleet.cli_forecast import forecast
from dermafleet.cli_rules import rule
from dermafleet.errors import DermafleetError, PermanentError, SettingError
from dermafleet.terminal import AsJson, database, database_url, show, table

if TYPE_CHECKING:
    from dermafleet.storage.quarantine import Choice

app = typer.Typer(
    name="dermafleet",
    help="Telemetry for microdermabrasion machines: the server's processes and its operator's verbs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
db = typer.Typer(help="The database's schema.", no_args_is_help=True)
user = typer.Typer(help="Who may log in.", no_args_is_help=True)
device = typer.Typer(help="The register of devices.", no_args_is_help=True)
quarantine = typer.Typer(help="Messages that were refused, with the reason.", no_args_is_help=True)
app.add_typer(db, name="db")
app.add_typer(user, name="user")
app.add_typer(device, name="device")
app.add_typer(quarantine, name="quarantine")
app.add_typer(rule, name="rule")
app.add_typer(detector, name="detector")
app.add_typer(forecast, name="forecast")


def main() -> None:
    """Entry point of the ``dermafleet`` command."""
    try:
        app()
    except SettingError as error:
        _fail(error, 2)
    except DermafleetError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        sys.stderr.close()
        sys.exit(1)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(metadata.version("dermafleet"))
        raise typer.Exit


# --- Processes ------------------------------------------------------------------------------------------------------


@app.command()
def ingest() -> None:
    """Store what devices publish, until SIGTERM. Settings: DERMAFLEET_DATABASE_URL, DERMAFLEET_MQTT_URL."""
    _run("ingest")


@app.command()
def alerts() -> None:
    """Find faults in what is stored, until SIGTERM. Setting: DERMAFLEET_DATABASE_URL."""
    _run("alerts")


@app.command()
def api() -> None:
    """Serve the API and the dashboard, until SIGTERM. Setting: DERMAFLEET_DATABASE_URL."""
    _run("api")


def _run(process: str) -> None:
    from dermafleet import logs
    from dermafleet.settings import Settings

    settings = Settings.load()
    logs.configure(process, json=settings.log_json)
    logs.get_logger().info("Starting", version=metadata.version("dermafleet"), **_shown(settings.model_dump()))
    import_module(f"services.{process}.main").run(settings)


def _shown(settings: dict[str, Any]) -> dict[str, str]:
    """Settings for the log: a URL with its password masked rather than hidden whole."""
    from pydantic import SecretStr

    def plain(value: object) -> str:
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    return {
        name: " ".join(plain(each) for each in value) if isinstance(value, tuple) else plain(value)
        for name, value in settings.items()
    }


@app.command()
def demo(
    devices: Annotated[int, typer.Option(min=1, help="How many simulated machines.")] = 50,
    seed: Annotated[int, typer.Option(help="Another seed, other machines.")] = 1,
    speed: Annotated[float | None, typer.Option(min=0, help="Event time per wall time.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Replay the recordings in this folder.")] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="Stop after so many seconds.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a JSON report here at the end.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the API; default: a free one.")] = None,
    history: Annotated[
        int | None, typer.Option(min=0, max=90, help="Days of history; default: 30 with 20 machines or more.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Where the demo keeps its data.")] = Path("var/demo"),
    verbose: Annotated[bool, typer.Option(help="Show the logs of all processes.")] = False,
) -> None:
    """Start PostgreSQL, a broker, ingest, alerts, API and simulated machines; Ctrl-C stops them all."""
    module = import_module("dermafleet.embedded.demo")
    options = module.Options(
        devices=devices,
        seed=seed,
        speed=speed,
        replay=replay,
        run_for_s=seconds,
        report=report,
        port=port,
        history=history,
        data_dir=data_dir,
        verbose=verbose,
    )
    sys.exit(module.run(options))


# --- Database -------------------------------------------------------------------------------------------------------


@db.command("upgrade")
def db_upgrade() -> None:
    """Create the schema, or bring it up to date. Harmless when it is."""
    from dermafleet.storage import migrate

    url = database_url()
    migrate.upgrade(url)
    typer.echo(f"schema {migrate.current(url)}")


@db.command("current")
def db_current(as_json: AsJson = False) -> None:
    """Print the schema's revision."""
    from dermafleet.storage import migrate

    revision = migrate.current(database_url())
    show({"revision": revision, "newest": migrate.REVISION}, revision or "no schema yet", as_json=as_json)


@db.command("wait")
def db_wait(timeout_s: Annotated[float, typer.Option("--timeout", min=0, help="Seconds.")] = 60) -> None:
    """Wait until the database answers and its schema fits this version."""
    from dermafleet.storage import migrate

    timeout = timedelta(seconds=timeout_s)
    migrate.wait(database_url(), database=timeout, schema=timeout)


@db.command("seed")
def db_seed(devices: Annotated[int, typer.Option(min=1, help="How many machines.")] = 10) -> None:
    """Add the demo's clinics, device models and machines where they are not there yet."""
    from dermafleet.embedded import fleet

    with database() as connection:
        fleet.plant(connection, fleet.machines(devices, model=fleet.CRYSTAL))
    typer.echo(f"{devices} machines of the demo are registered")


# --- Users and devices ----------------------------------------------------------------------------------------------


class Role(StrEnum):
    admin = "admin"
    viewer = "viewer"


@user.command("add")
def user_add(
    email: str,
    role: Annotated[Role, typer.Option(help="A viewer changes nothing.")] = Role.admin,
    password_file: Annotated[
        typer.FileText | None, typer.Option(help="Read the password from here, - for standard input; default: ask.")
    ] = None,
) -> None:
    """Create a user, or give an existing one a new password and role."""
    from dermafleet.storage.accounts import create_user

    with database() as connection:
        password = (
            password_file.read().rstrip("\n")
            if password_file
            else typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        )
        create_user(connection, email, password, role=role.value)
    typer.echo(f"user {email.strip().lower()}, {role.value}")


@device.command("list")
def device_list(
    state: Annotated[str | None, typer.Option(help="Only those pending, active, suspended, …")] = None,
    as_json: AsJson = False,
) -> None:
    """List the registered devices and those that wait for approval."""
    from dermafleet.storage.registry import list_devices

    with database() as connection:
        found = [dataclasses.asdict(each) for each in list_devices(connection, state=state)]
    show(found, table(("device_id", "label", "state", "model"), found), as_json=as_json)


@device.command("add")
def device_add(
    device_id: str,
    label: Annotated[str | None, typer.Option(help="Usually the serial on the plate; default: the id.")] = None,
    model: Annotated[str | None, typer.Option(help="Id of its device model.")] = None,
) -> None:
    """Register a device before it is first heard of."""
    from dermafleet.storage.registry import add_device

    with database() as connection:
        add_device(connection, device_id, label=label, model=model)
    typer.echo(f"device {device_id} is active")


@device.command("approve")
def device_approve(device_ids: list[str]) -> None:
    """Accept devices that are on hold, or resume suspended ones."""
    _move(device_ids, "active")


@device.command("suspend")
def device_suspend(device_ids: list[str]) -> None:
    """Put devices on hold: they keep their data until they are approved again."""
    _move(device_ids, "suspended")


def _move(device_ids: Sequence[str], state: str) -> None:
    from dermafleet.storage.registry import set_state

    with database() as connection:
        for device_id in device_ids:
            changed = set_state(connection, device_id, "active" if state == "active" else "suspended")
            typer.echo(f"device {device_id} {'is' if changed else 'was already'} {state}")


# --- Quarantine -----------------------------------------------------------------------------------------------------

OfDevice = Annotated[str | None, typer.Option("--device", help="Only of this device.")]
WithReason = Annotated[str | None, typer.Option("--reason", help="Only those whose reason contains this.")]
OlderThan = Annotated[float | None, typer.Option("--older-than", min=0, help="Only those received so many days ago.")]


@quarantine.command("list")
def quarantine_list(
    device_id: OfDevice = None,
    reason: WithReason = None,
    older_than_days: OlderThan = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was refused, newest first."""
    from dermafleet.storage.quarantine import list_newest

    with database() as connection:
        kept = list_newest(connection, _choice(device_id, reason, older_than_days), limit=limit)
    found = [dataclasses.asdict(each) for each in kept]
    columns = ("received_at", "device_id", "epoch", "seq", "field", "reason", "payload_bytes", "count")
    show(found, table(columns, found), as_json=as_json)


@quarantine.command("drop")
def quarantine_drop(
    device_id: OfDevice = None,
    reason: WithReason = None,
    older_than_days: OlderThan = None,
    everything: Annotated[bool, typer.Option("--all", help="Drop all of them.")] = False,
) -> None:
    """Remove messages for ever, which makes room for refusing again. Say which, or --all."""
    from dermafleet.storage.quarantine import Choice, drop

    choice = _choice(device_id, reason, older_than_days)
    if everything == (choice != Choice()):
        raise SettingError("say which messages to drop: --device, --reason, --older-than; or --all alone")
    with database() as connection:
        dropped = drop(connection, choice)
    typer.echo(f"{dropped} dropped")


def _choice(device_id: str | None, reason: str | None, older_than_days: float | None) -> "Choice":
    from dermafleet.storage.quarantine import Choice

    return Choice(device_id, reason, None if older_than_days is None else timedelta(days=older_than_days))


# --- Looking --------------------------------------------------------------------------------------------------------


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine lacks, and how to get it. Exit code 1 if something needed is missing."""
    from dermafleet.doctor import examine
    from dermafleet.settings import Settings

    findings = examine(Settings.load())
    lines = [
        f"{each.grade:<8}{each.subject}: {each.found}" + (f"  ->  {each.remedy}" if each.remedy else "")
        for each in findings
    ]
    show([dataclasses.asdict(each) for each in findings], "\n".join(lines), as_json=as_json)
    raise typer.Exit(any(each.grade == "missing" for each in findings))


@app.command("api-schema")
def api_schema(
    check: Annotated[Path | None, typer.Option(help="Compare with this file instead of printing.")] = None,
) -> None:
    """Print the API's OpenAPI description."""
    text = json.dumps(import_module("services.api.app").openapi(), indent=2, sort_keys=True) + "\n"
    if check is None:
        typer.echo(text, nl=False)
    elif not check.exists() or check.read_text() != text:
        raise PermanentError(f"{check} is out of date; write it with: dermafleet api-schema > {check}")


# --- Shared by the verbs --------------------------------------------------------------------------------------------


def _fail(error: DermafleetError, code: int) -> NoReturn:
    from dermafleet.logs import mask

    typer.echo(f"dermafleet: {mask(str(error))}", err=True)
    sys.exit(code)
