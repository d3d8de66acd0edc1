"""Ingest at full load: a generator keeps every device's window full, and what is stored counts.

The yardstick is PostgreSQL itself: the very rows that ingest stored, copied once more into a table of the same shape by
binary COPY, from bytes that are ready, by one connection, in transactions of the size that ingest makes.
"""

import argparse
import subprocess
import time
from contextlib import ExitStack
from statistics import median

import msgspec

from bench.load import Plan, Tally
from bench.result import Result, rounded
from bench.stack import Stack, python, running, used
from dermafleet.errors import PermanentError
from dermafleet.storage import ledger
from dermafleet.storage.binary import HEADER, TRAILER
from dermafleet.storage.engine import connect

_MAX_ROWS = 400_000
_RUNS = 3


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20, help="per entry")
    parser.add_argument("--channels", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--generators", type=int, default=1)
    parser.add_argument("--copy-rows", type=int, default=10_000, help="rows per transaction of the plain COPY")


def run(options: argparse.Namespace) -> Result:
    """Raises DermafleetError if a process does not start or samples are missing."""
    with running(options.devices) as stack:
        server = stack.start_broker()
        stack.start_ingest(server)
        before = stack.cpu_s()
        tallies = _load(stack, server.url("load"), options)
        cpu_s = used(before, stack.cpu_s())
        stored = _count(stack)
        acked = sum(tally.samples for tally in tallies)
        if stored < acked:
            raise PermanentError(f"{acked} samples were acknowledged, but {stored} are stored")
        seconds = max(t.ended_at for t in tallies) - min(t.began_at for t in tallies)
        copy_rate, copy_cpu_s = _copy(stack, options.copy_rows)
        rate = acked / seconds
        return {
            "devices": options.devices,
            "samples_per_entry": options.samples,
            "channels": options.channels,
            "samples_stored": stored,
            "samples_per_s": rounded(rate),
            "entries_per_s": rounded(rate / options.samples),
            "copy_rows_per_s": rounded(copy_rate),
            "ratio_to_copy": rounded(rate / copy_rate),
            "resent": sum(tally.resent for tally in tallies),
            "refused": sum(tally.refused for tally in tallies),
            "cpu_s_per_million_samples": {
                **{name: rounded(cpu_s[name] * 1e6 / stored) for name in ("ingest", "postgres", "broker")},
                "load": rounded(sum(tally.cpu_s for tally in tallies) * 1e6 / stored),
                "plain_copy": rounded(copy_cpu_s * 1e6),
            },
        }


def _load(stack: Stack, url: str, options: argparse.Namespace) -> list[Tally]:
    """Run the generators side by side to their end."""
    with ExitStack() as ends:
        generators = []
        for number in range(options.generators):
            devices = list(stack.device_ids[number :: options.generators])
            plan = Plan(url, devices, options.samples, options.channels, options.seconds)
            file = stack.folder / f"plan-{number}.json"
            file.write_bytes(msgspec.json.encode(plan))
            command = python("load", "bench.load", str(file)).command
            generators.append(ends.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE)))
            ends.callback(generators[-1].kill)
        patience_s = options.seconds + plan.drain_s + 10
        return [msgspec.json.decode(each.communicate(timeout=patience_s)[0], type=Tally) for each in generators]


def _count(stack: Stack) -> int:
    with connect(stack.database_url) as connection:
        row = connection.execute("select count(*) from telemetry").fetchone()
        return int(row[0]) if row else 0


def _copy(stack: Stack, chunk_rows: int) -> tuple[float, float]:
    """Rows per second of plain binary COPY, median of three runs, and PostgreSQL's CPU seconds per row."""
    with connect(stack.database_url) as connection:
        chunks = _binary_chunks(connection, chunk_rows)
        rates, before = [], stack.cpu_s()
        for _ in range(_RUNS):
            connection.execute("create table plain (like telemetry including all)")
            connection.commit()
            began = time.monotonic()
            for chunk in chunks:
                with connection.cursor() as cursor, cursor.copy("copy plain from stdin (format binary)") as copy:
                    copy.write(chunk)
                connection.commit()
            rates.append(len(chunks) * chunk_rows / (time.monotonic() - began))
            connection.execute("drop table plain")
            connection.commit()
        cpu_s = used(before, stack.cpu_s())["postgres"]
    return median(rates), cpu_s / (_RUNS * len(chunks) * chunk_rows)


def _binary_chunks(connection: ledger.Connection, rows_each: int) -> list[bytes]:
    """Rows that ingest stored, in its order, as binary COPY takes them; at least one chunk.

    Raises:
        PermanentError: fewer rows are stored than one chunk holds.
    """
    query = f"copy (select * from telemetry limit {_MAX_ROWS}) to stdout (format binary)"
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        rows = [bytes(row) for row in copy]  # PostgreSQL sends one row at a time, the header with the first
    rows[0] = rows[0].removeprefix(HEADER)
    assert rows.pop() == TRAILER
    if len(rows) < rows_each:
        raise PermanentError(f"{len(rows)} samples are stored, at least {rows_each} are needed: run longer")
    whole = range(0, len(rows) - rows_each + 1, rows_each)
    return [HEADER + b"".join(rows[i : i + rows_each]) + TRAILER for i in whole]
