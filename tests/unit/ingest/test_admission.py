"""What entries tell of the device's disk is believed as far as it can be true."""

from dermafleet.contracts.topics import Topics
from services.ingest.admission import admit
from services.ingest.decode import Entry, Message, decode
from services.ingest.ledger import Ledger
from tests.unit.ingest.messages import EPOCH_A, Machine


def entry(message: Message) -> Entry:
    decoded = decode(message, Topics())
    assert isinstance(decoded, Entry)
    return decoded


def test_what_is_not_written_yet_cannot_have_been_dropped() -> None:
    m, ledger = Machine(), Ledger()
    admit(ledger, [entry(m.event(3, "dropped", {"ranges": {EPOCH_A: [[1, 2], [5, 2**53 - 1]]}}))], may_refuse=True)
    assert (ledger.logs[EPOCH_A].upto, ledger.logs[EPOCH_A].head) == (3, 3)
    assert ledger.admit(m.header(5)) == "new"


def test_an_epoch_that_names_itself_as_the_one_before_loses_nothing() -> None:
    m, ledger = Machine(head=3), Ledger()
    admit(ledger, [entry(m.opened(previous=(EPOCH_A, 1)))], may_refuse=True)
    assert ledger.logs[EPOCH_A].previous is None
    assert ledger.admit(m.header(2)) == "new"
