"""Decisions do not depend on delivery: whatever the way of the entries, the same alarms, sessions and events.

Real PostgreSQL, the real write path of ingest (two writers), the real follower.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.contracts.envelope import encode
from dermafleet.contracts.topics import Topics
from dermafleet.storage.engine import make_engine
from services.alerts.step import Patience, Progress, step
from services.ingest.decode import Decoded, Entry, Message, decode
from services.ingest.write import Rules, write
from tests.unit.alerts.cases import Case, cases
from tests.unit.alerts.machine import LIMIT_KPA, RATED_LPM, Item

DEVICE = "D-0001"
CONDITION = ("session_feature", "baseline", "forecast", "observability", "filter_life")
FORGOTTEN = (
    *("alarm_event", "alarm", "session", "device_counter", "event", "detector_state", "telemetry", "log_entry"),
    *("device_log", "boot_anchor", "change", "maintenance_record", *CONDITION),
)


class Server:
    """Two ingest writers and a follower on one database."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine: AsyncEngine = make_engine(url, 2)
        self.writers = [psycopg.connect(url), psycopg.connect(url)]
        with psycopg.connect(url) as connection:
            limits = msgspec.json.encode({"filter_dp_kpa": LIMIT_KPA, "filter_flow_lpm": RATED_LPM}).decode()
            connection.execute("insert into device_model values ('m', 'M', 'full', %s)", [limits])
            row = connection.execute(
                "insert into device (device_id, label, state, model_id) values (%s, 'L', 'active', 'm') returning id",
                [DEVICE],
            ).fetchone()
        assert row is not None
        self.device: int = row[0]
        self.rules = Rules(server="s", payload_bytes=1 << 18)

    def close(self) -> None:
        self.loop.run_until_complete(self.engine.dispose())
        self.loop.close()
        for writer in self.writers:
            writer.close()

    def forget(self) -> None:
        for table in FORGOTTEN:
            self.writers[0].execute(f"delete from {table}")
        self.writers[0].commit()

    def deliver(self, items: list[Item], case: Case, *, writer: int = 0, knows_head: bool = False) -> None:
        heads = {item.epoch: item.seq for item in case.log}
        batch: list[Decoded] = []
        for item in items:
            header = item.header(low=case.low, head=heads[item.epoch] if knows_head else item.seq)
            topic = Topics().up(DEVICE, item.kind)
            payload = encode(header, msgspec.json.encode(item.content))
            entry = decode(Message(topic, payload, datetime.now(UTC)), Topics())
            assert isinstance(entry, Entry)
            batch.append(entry)
        with self.writers[writer].transaction():
            write(self.writers[writer], batch, self.rules)

    def follow(self, most: int = 1000) -> None:
        for _ in range(most):
            if self.loop.run_until_complete(step(self.engine, self.device, Patience())) is Progress.NONE:
                return
        assert most < 1000, "the follower goes round in circles"

    def decisions(self) -> dict[str, list[Any]]:
        """Everything that the follower wrote, but no receive times and no row numbers."""
        columns = {
            "alarm": "to_jsonb(t) - 'created_at'",
            "alarm_event": "to_jsonb(t) - 'id' - 'recorded_at'",
            "session": "to_jsonb(t)",
            "event": "to_jsonb(t)",
            "maintenance_record": "to_jsonb(t) - 'recorded_at'",
            **dict.fromkeys(CONDITION, "to_jsonb(t)"),
            "detector_state": "to_jsonb(t) - 'blocked_since'",
        }
        order = {"alarm_event": "id"}
        rows = {
            table: self.writers[0].execute(f"select {what} from {table} t order by {order.get(table, '1')}").fetchall()
            for table, what in columns.items()
        }
        self.writers[0].commit()
        return rows


@pytest.fixture
def server(database_url: str) -> Iterator[Server]:
    server = Server(database_url)
    yield server
    server.close()


def test_decisions_do_not_depend_on_delivery(server: Server) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(cases(), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        server.forget()
        server.deliver(case.kept, case)
        server.deliver(case.late, case)
        server.follow()
        expected = server.decisions()

        server.forget()
        _deliver_at_random(server, case, data)
        server.follow()
        assert server.decisions() == expected
        seen["alarms"] += len(expected["alarm"])
        seen["transitions"] += len(expected["alarm_event"])
        seen["late"] += len(case.late)
        seen["features"] += len(expected["session_feature"])
        seen["service"] += len(expected["maintenance_record"])

    check()
    assert min(seen.values()) > 0, f"the examples show nothing: {seen}"


def _deliver_at_random(server: Server, case: Case, data: st.DataObject) -> None:
    """Shuffled, some twice, in batches over both writers, with the follower at work in between."""
    repeated = data.draw(st.lists(st.sampled_from(case.kept), max_size=5), label="repeated")
    queue = data.draw(st.permutations(case.kept + repeated), label="order")
    while queue:
        count = data.draw(st.integers(1, 12), label="batch")
        batch, queue = queue[:count], queue[count:]
        writer, knows_head = data.draw(st.tuples(st.integers(0, 1), st.booleans()), label="writer, head")
        server.deliver(batch, case, writer=writer, knows_head=knows_head)
        server.follow(data.draw(st.integers(0, 3), label="steps"))
    # A loss is known by now: what arrives of it is late, whenever the follower comes by.
    for item in data.draw(st.permutations(case.late), label="late"):
        server.deliver([item], case, writer=data.draw(st.integers(0, 1)))
        server.follow(1)
