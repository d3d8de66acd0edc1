"""One batch, one transaction: lock the devices, read the ledger, admit, append, write the ledger. The caller commits.

The answers it returns may be sent only after the commit.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dermafleet.errors import PermanentError
from dermafleet.storage import ledger as rows
from dermafleet.storage import quarantine, samples, status
from dermafleet.storage.ledger import Connection, Device, LogRow
from dermafleet.storage.samples import EntryRow
from services.ingest.ack import Answers, Reply, hold
from services.ingest.admission import Admitted, Numbered, admit, epochs_named, quarantined, repeat_of
from services.ingest.decode import BadEntry, Decoded, Entry, Report, Unusable
from services.ingest.ledger import Ledger, Log
from services.ingest.presence import advance, is_change
from services.ingest.rows import entry_row
from services.ingest.times import event_time, stamp_of

T = TypeVar("T", Log, LogRow)

MAX_PENDING = 1000
"""Unknown devices kept for approval: any client of the broker may invent names."""

MAX_EPOCHS_A_DAY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How this ingest decides; the last three change from batch to batch.

    Attributes:
        server: identity of the database, for the acks.
        new_state: state of a device never seen before.
        payload_bytes: up to here a refused message is kept.
        fill: of the inbox, for pacing.
        may_refuse: whether bad entries may be refused; otherwise they stay unanswered.
        may_keep_garbage: whether there is room for messages without a number.
    """

    server: str
    new_state: str = "pending"
    max_pending: int = MAX_PENDING
    payload_bytes: int
    fill: float = 0
    may_refuse: bool = True
    may_keep_garbage: bool = True


@dataclass(slots=True)
class Outcome:
    """What a batch came to, valid once it is committed.

    Attributes:
        counts: messages by result (new, late, duplicate, refused, forked, withheld, waiting, held, status, garbage,
            garbage_dropped).
        samples: stored.
        unknown: telemetry entries stored with channels or fields that this version does not know.
        seen, bad: devices of the entries looked at, and of the bad ones among them.
        refused: what went into quarantine.
    """

    replies: list[Reply] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    unknown: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    refused: list[quarantine.Refused] = field(default_factory=list)


@dataclass(slots=True)
class _Work:
    """One active device's part of the batch."""

    device: Device
    ledger: Ledger
    before: dict[str, LogRow]
    answers: Answers
    admitted: Admitted
    duplicates: Counter[str] = field(default_factory=Counter)
    samples: Counter[str] = field(default_factory=Counter)


def write(connection: Connection, batch: Sequence[Decoded], rules: Rules) -> Outcome:
    """Store a batch in the connection's open transaction.

    Raises:
        psycopg.Error: nothing is decided; roll back, and repeat the batch if the error is transient.
        PermanentError: the database refuses an entry that may not be refused now; roll back, try the others.
    """
    outcome = Outcome()
    entries = [item for item in batch if isinstance(item, Entry | BadEntry)]
    reports = [item for item in batch if isinstance(item, Report)]
    devices = _lock_devices(connection, {item.device_id for item in (*entries, *reports)}, rules)
    _hold(outcome, entries, reports, devices, rules)
    works = _admit(connection, [e for e in entries if _is_active(devices, e.device_id)], devices, rules)
    _judge_bad(outcome, works, rules)
    _judge_repeated(connection, outcome, works, rules)
    _append(connection, outcome, works, rules)
    _keep_garbage(outcome, [item for item in batch if isinstance(item, Unusable)], rules)
    if outcome.refused:
        quarantine.add(connection, outcome.refused)
    _write_logs(connection, works)
    _write_reports(connection, outcome, [r for r in reports if _is_active(devices, r.device_id)], devices)
    for work in works:
        outcome.replies += work.answers.replies(rules.server, work.ledger, rules.fill)
    return outcome


def _lock_devices(connection: Connection, device_ids: set[str], rules: Rules) -> dict[str, Device]:
    devices = rows.lock_devices(connection, sorted(device_ids)) if device_ids else {}
    if unknown := sorted(device_ids - devices.keys()):
        rows.register_devices(connection, unknown, state=rules.new_state, max_pending=rules.max_pending)
        devices |= rows.lock_devices(connection, unknown)
    return devices


def _is_active(devices: dict[str, Device], device_id: str) -> bool:
    return device_id in devices and devices[device_id].state == "active"


def _hold(
    outcome: Outcome, entries: Iterable[Numbered], reports: Iterable[Report], devices: dict[str, Device], rules: Rules
) -> None:
    """Answer the entries of devices that are not active: nothing of theirs is stored and nothing refused."""
    brokers: dict[str, set[int]] = {}
    for entry in entries:
        if not _is_active(devices, entry.device_id):
            brokers.setdefault(entry.device_id, set()).add(entry.message.broker)
            outcome.counts["held"] += 1
    outcome.counts["held"] += sum(not _is_active(devices, report.device_id) for report in reports)
    for device_id, over in brokers.items():
        state = devices[device_id].state if device_id in devices else "pending"
        outcome.replies += hold(rules.server, device_id, state, over)


def _admit(
    connection: Connection, entries: Iterable[Numbered], devices: dict[str, Device], rules: Rules
) -> list[_Work]:
    by_device: dict[str, list[Numbered]] = {}
    for entry in entries:
        by_device.setdefault(entry.device_id, []).append(entry)
    if not by_device:
        return []
    named = {devices[name].id: epochs_named(own) for name, own in by_device.items()}
    logs = rows.read_logs(connection, named)
    with_new = [device for device, epochs in named.items() if epochs - {row.epoch for row in logs[device]}]
    counts = rows.count_epochs(connection, with_new) if with_new else {}
    works = []
    for name, own in by_device.items():
        device = devices[name]
        newest, recent = counts.get(device.id, (0, 0))
        before = {row.epoch: row for row in logs[device.id]}
        ledger = Ledger(
            logs={row.epoch: _copy(row, Log) for row in logs[device.id]},
            newest=newest,
            new_epochs=MAX_EPOCHS_A_DAY - recent,
        )
        admitted = admit(ledger, own, may_refuse=rules.may_refuse)
        works.append(_Work(device, ledger, before, Answers(name), admitted))
    return works


def _judge_bad(outcome: Outcome, works: Iterable[_Work], rules: Rules) -> None:
    for work in works:
        admitted, name = work.admitted, work.device.device_id
        outcome.counts["waiting"] += len(admitted.waiting)
        outcome.seen[name] += len(admitted.new) + len(admitted.bad) + len(admitted.repeated)
        outcome.bad[name] += len(admitted.bad)
        for entry in admitted.refused:
            work.answers.refuse(entry.message.broker, entry.header)
            outcome.counts["refused_again"] += 1
        for bad in admitted.bad:
            _refuse(outcome, work, bad, (bad.field, bad.reason), rules)


def _judge_repeated(connection: Connection, outcome: Outcome, works: Sequence[_Work], rules: Rules) -> None:
    """Acknowledge entries that are stored already; refuse those whose number is taken by another content."""
    in_batch = {_key(work, entry): entry.hash for work in works for entry, _ in work.admitted.new}
    repeated = [(work, entry) for work in works for entry in work.admitted.repeated]
    known = rows.read_hashes(connection, [key for work, e in repeated if (key := _key(work, e)) not in in_batch])
    known |= in_batch
    for work, entry in repeated:
        if repeat_of(entry, known.get(_key(work, entry))) == "duplicate":
            work.answers.commit(entry.message.broker, entry.header)
            work.duplicates[entry.header.epoch] += 1
            outcome.counts["duplicate"] += 1
        else:
            outcome.counts["forked"] += 1
            outcome.bad[work.device.device_id] += 1
            _refuse(outcome, work, entry, ("header.seq", "forked: this number is stored with other content"), rules)


def _append(connection: Connection, outcome: Outcome, works: Sequence[_Work], rules: Rules) -> None:
    """Date and store the new entries; one that the database does not take is refused."""
    new = [(work, entry, late) for work in works for entry, late in work.admitted.new]
    if not new:
        return
    numbers = rows.take_entry_numbers(connection, len(new))
    anchors = rows.read_anchors(connection, [(work.device.id, stamp_of(e.content).boot) for work, e, _ in new])
    told: dict[tuple[int, str], int] = {}
    to_store: list[EntryRow] = []
    by_number = dict(zip(numbers, new, strict=True))
    for number, (work, entry, late) in by_number.items():
        stamp = stamp_of(entry.content)
        boot = (work.device.id, stamp.boot)
        received_ms = int(entry.message.received_at.timestamp() * 1000)
        time, anchor = event_time(stamp, entry.header, received_ms, anchors.get(boot))
        if anchor is not None:
            anchors[boot] = told[boot] = anchor
        to_store.append(entry_row(entry, work.device.id, number, time, late=late))
    rows.add_anchors(connection, told)
    rejected = {row.entry: reason for row, reason in samples.append_possible(connection, to_store)}
    for row in to_store:
        work, entry, late = by_number[row.entry]
        if row.entry in rejected:
            if not rules.may_refuse:
                raise PermanentError(f"{entry.message.topic}: {rejected[row.entry]}; refusing is stopped")
            work.ledger.refuse(entry.header)
            outcome.bad[entry.device_id] += 1
            _refuse(outcome, work, entry, ("entry", rejected[row.entry]), rules)
        else:
            work.answers.commit(entry.message.broker, entry.header)
            outcome.counts["late" if late else "new"] += 1
            if row.samples is not None:
                outcome.samples += len(row.samples.at_ms)
                work.samples[row.epoch] += len(row.samples.at_ms)
                outcome.unknown += row.samples.extra is not None or row.body is not None


def _refuse(outcome: Outcome, work: _Work, entry: Numbered, fault: tuple[str, str], rules: Rules) -> None:
    """Put an entry into quarantine and refuse it by number; or leave it unanswered while refusing is stopped."""
    if not rules.may_refuse:
        outcome.counts["withheld"] += 1
        return
    outcome.refused.append(quarantined(entry, *fault, rules.payload_bytes))
    outcome.counts["refused"] += 1
    work.answers.refuse(entry.message.broker, entry.header)


def _keep_garbage(outcome: Outcome, messages: Iterable[Unusable], rules: Rules) -> None:
    for message in messages:
        if rules.may_keep_garbage:
            outcome.refused.append(quarantined(message, message.field, message.reason, rules.payload_bytes))
        outcome.counts["garbage" if rules.may_keep_garbage else "garbage_dropped"] += 1


def _write_logs(connection: Connection, works: Iterable[_Work]) -> None:
    """Write the logs that changed, in one order for all writers."""
    changed = []
    for work in works:
        for epoch, log in work.ledger.logs.items():
            row = _copy(log, LogRow)
            if row != work.before.get(epoch) or work.duplicates[epoch]:
                changed.append((work.device.id, row, work.duplicates[epoch], work.samples[epoch]))
    rows.write_logs(connection, sorted(changed, key=lambda item: (item[0], item[1].epoch)))


def _write_reports(
    connection: Connection, outcome: Outcome, reports: Sequence[Report], devices: dict[str, Device]
) -> None:
    by_device: dict[int, list[Report]] = {}
    for report in reports:
        by_device.setdefault(devices[report.device_id].id, []).append(report)
    if not by_device:
        return
    known = status.read_presence(connection, by_device)
    changed = []
    for device, own in sorted(by_device.items()):
        before = known.get(device)
        after = advance(before, [(report.status, report.message.received_at) for report in own])
        if after is None or after == before:
            continue
        changed.append((device, after))
        if is_change(before, after):
            status.tell_presence(connection, device, after)
    status.write_presence(connection, changed)
    outcome.counts["status"] += len(reports)


def _copy(log: Log | LogRow, kind: type[T]) -> T:
    """The same log as a row, or the same row as a log: their fields are equal, the one is frozen."""
    return kind(**{name: getattr(log, name) for name in LogRow.__dataclass_fields__})


def _key(work: _Work, entry: Numbered) -> tuple[int, str, int]:
    return work.device.id, entry.header.epoch, entry.header.seq
