"""What is to be done with one device's entries of a batch, decided by the ledger. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from dermafleet.contracts.envelope import Header
from dermafleet.contracts.records import DROPPED, OPENED, Event, dropped_of, opened_of
from dermafleet.storage.quarantine import Refused
from services.ingest.decode import BadEntry, Entry, Unusable
from services.ingest.ledger import Ledger

Numbered = Entry | BadEntry

MAX_SEQUENCE = 2**53 - 1


@dataclass(slots=True)
class Admitted:
    """One device's entries, each in exactly one list.

    Attributes:
        new: to be stored; each with whether it is late.
        bad: to be put into quarantine and refused, or withheld.
        repeated: stored earlier: the hash tells a duplicate from a fork.
        refused: refused earlier.
        waiting: not answered now, because the log is too fragmented or has too many epochs.
    """

    new: list[tuple[Entry, bool]] = field(default_factory=list)
    bad: list[BadEntry] = field(default_factory=list)
    repeated: list[Numbered] = field(default_factory=list)
    refused: list[Numbered] = field(default_factory=list)
    waiting: list[Numbered] = field(default_factory=list)


def epochs_named(entries: Sequence[Numbered]) -> set[str]:
    """All epochs whose logs these entries may touch."""
    named = {entry.header.epoch for entry in entries} | {entry.header.low[0] for entry in entries}
    for entry in entries:
        if isinstance(entry, Entry) and isinstance(entry.content, Event):
            named.update(_epochs_told(entry.content))
    return named


def admit(ledger: Ledger, entries: Sequence[Numbered], *, may_refuse: bool) -> Admitted:
    """Decide on each entry and note in the ledger what they and their headers tell.

    Args:
        may_refuse: whether bad entries may be refused; otherwise the ledger does not learn of them.
    """
    admitted = Admitted()
    for entry in entries:
        match ledger.admit(entry.header):
            case "new" | "late" as admission:
                if isinstance(entry, Entry):
                    ledger.store(entry.header, late=admission == "late")
                    admitted.new.append((entry, admission == "late"))
                else:
                    admitted.bad.append(entry)
                    if may_refuse:
                        ledger.refuse(entry.header)
            case "duplicate":
                admitted.repeated.append(entry)
            case "refused":
                admitted.refused.append(entry)
            case "fragmented":
                admitted.waiting.append(entry)
    _note(ledger, admitted)
    return admitted


def quarantined(entry: Numbered | Unusable, field: str, reason: str, max_bytes: int) -> Refused:
    """The row that keeps a refused message.

    Its hash leaves out what changes between two sendings of an entry, so that a repeat is counted, not kept again.
    """
    epoch, seq, digest = None, None, entry.hash
    if not isinstance(entry, Unusable):
        epoch, seq = entry.header.epoch, entry.header.seq
        digest = hashlib.blake2b(f"{epoch} {seq} ".encode() + entry.hash, digest_size=16).digest()
    payload = entry.message.payload
    return Refused(
        topic=entry.message.topic,
        device_id=entry.device_id,
        epoch=epoch,
        seq=seq,
        field=field,
        reason=reason,
        payload=payload[:max_bytes],
        payload_bytes=len(payload),
        hash=digest,
        received_at=entry.message.received_at,
    )


def _note(ledger: Ledger, admitted: Admitted) -> None:
    """Note what entries tell of the device's disk, once all of the batch are in: order in a batch means nothing."""
    new = [entry for entry, _ in admitted.new]
    for entry in new:
        if isinstance(entry.content, Event):
            _note_event(ledger, entry.header.epoch, entry.header.seq, entry.content)
    # A later low of an epoch includes the earlier ones.
    lows: dict[str, Header] = {}
    for header in [e.header for e in (*new, *admitted.bad, *admitted.repeated, *admitted.refused)]:
        epoch, seq = header.low
        if epoch not in lows or lows[epoch].low[1] < seq:
            lows[epoch] = header
    for header in lows.values():
        ledger.note_low(header)


def _note_event(ledger: Ledger, epoch: str, seq: int, event: Event) -> None:
    if event.type == OPENED and seq == 1:
        previous = opened_of(event).previous
        ledger.note_opened(epoch, None if previous and previous[0] == epoch else previous)
    elif event.type == DROPPED:
        for dropped_epoch, ranges in dropped_of(event).ranges.items():
            # A range into the future would make all that is still to come late.
            end = seq - 1 if dropped_epoch == epoch else MAX_SEQUENCE
            ledger.note_dropped(dropped_epoch, [(first, min(last, end)) for first, last in ranges])


def _epochs_told(event: Event) -> set[str]:
    if event.type == OPENED:
        previous = opened_of(event).previous
        return {previous[0]} if previous else set()
    return set(dropped_of(event).ranges) if event.type == DROPPED else set()


Repeat = Literal["duplicate", "forked"]


def repeat_of(entry: Numbered, stored_hash: bytes | None) -> Repeat:
    """Whether an entry whose number is stored is the same entry; a hash that is no longer kept counts as the same."""
    return "duplicate" if stored_hash in (None, entry.hash) else "forked"
