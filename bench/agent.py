"""What the machine's side costs: many simulated machines in one process, each with its own outbox and connection.

Every entry is on disk, fsynced, before it is sent; the fsyncs are counted from the outside, by strace, where it is
installed and allowed.
"""

import argparse
import shutil
import subprocess
import time
from pathlib import Path
from signal import SIGINT

from bench.result import Result, rounded
from bench.stack import Stack, await_true, rss_mb, running, used
from dermafleet.storage.engine import connect

_WARM_UP_S = 5.0
_TRACED_S = 5.0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=15.0)


def run(options: argparse.Namespace) -> Result:
    """Raises DermafleetError if a process does not start or nothing arrives."""
    with running(options.devices) as stack:
        server = stack.start_broker()
        stack.start_ingest(server)
        machines = stack.start_machines(server, ready=lambda: None)
        await_true(lambda: _stored(stack)[0] > 0, timeout_s=30, what="an entry is stored")
        time.sleep(_WARM_UP_S)
        before, (entries, samples), began = stack.cpu_s(), _stored(stack), time.monotonic()
        time.sleep(options.seconds)
        cpu_s, (entries_now, samples_now) = used(before, stack.cpu_s()), _stored(stack)
        seconds = time.monotonic() - began
        fsyncs_per_s = _count_fsyncs(machines.pid, stack.folder / "strace")
        return {
            "devices": options.devices,
            "samples_per_s": rounded((samples_now - samples) / seconds),
            "entries_per_s": rounded((entries_now - entries) / seconds),
            "cpu_percent": rounded(100 * cpu_s["machines"] / seconds),
            "cpu_percent_per_machine": rounded(100 * cpu_s["machines"] / seconds / options.devices),
            "rss_mb": rounded(rss_mb(machines.pid)),
            "fsyncs_per_s": "not counted: no strace" if fsyncs_per_s is None else rounded(fsyncs_per_s),
        }


def _stored(stack: Stack) -> tuple[int, int]:
    """Entries and samples in the database."""
    with connect(stack.database_url) as connection:
        row = connection.execute("select count(*), coalesce(sum(samples), 0)::bigint from log_entry").fetchone()
        assert row is not None
        return row[0], row[1]


def _count_fsyncs(pid: int, file: Path) -> float | None:
    """How often a second a process and its threads flush a file to disk; None = tracing is not possible."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    command = [strace, "-f", "-q", "-ttt", "-e", "trace=fsync,fdatasync", "-o", str(file), "-p", str(pid)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
        time.sleep(_TRACED_S)
        tracer.send_signal(SIGINT)
    lines = file.read_text().splitlines() if file.exists() else []
    begun_at = [float(line.split()[1]) for line in lines if "sync(" in line]
    return (len(begun_at) - 1) / (begun_at[-1] - begun_at[0]) if len(begun_at) > 1 else None
