"""The drain without a database: what it does with a batch that cannot be stored."""

from collections.abc import Sequence

import structlog.testing

from dermafleet.contracts.topics import Topics
from dermafleet.errors import PermanentError
from dermafleet.settings import Settings
from services.ingest import metrics
from services.ingest.decode import Decoded, decode
from services.ingest.drain import Drain
from services.ingest.inbox import Inbox
from services.ingest.write import Outcome
from tests.unit.ingest.messages import Machine


class Unable(Drain):
    """A drain whose database takes nothing."""

    def _write(self, batch: Sequence[Decoded]) -> Outcome:
        raise PermanentError("the database refuses it")


def test_messages_that_cannot_be_stored_are_counted_each_and_told_of_once() -> None:
    settings = Settings.load({"DERMAFLEET_DATABASE_URL": "postgresql://localhost/none"})
    drain = Unable(settings, Inbox(10, 1000), lambda replies: None, "worker")
    batch = [decode(Machine().block(seq), Topics()) for seq in range(1, 5)]
    before = metrics.SET_ASIDE._value.get()
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            drain._store(batch)
    assert metrics.SET_ASIDE._value.get() == before + 12
    assert [log["event"] for log in logs] == ["A message cannot be stored and is left with its device"]
