"""Which entry of a device's log comes next: within an epoch by number, epoch after epoch along `previous`.

Pure, and blind to how entries were delivered: only what is resolved (received, refused or lost) moves it on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dermafleet.storage.follow import OpenLog


@dataclass(frozen=True, slots=True)
class Position:
    """The last entry that was evaluated; `epoch` is None before the first."""

    epoch: str | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """Evaluate the entries of `epoch` after `after`, up to `upto`."""

    epoch: str
    after: int
    upto: int


@dataclass(frozen=True, slots=True)
class Move:
    """Go to the start of `epoch`; the one left, if any, is done as long as it still ends at `left_at`."""

    epoch: str
    leaving: str | None = None
    left_at: int = 0


@dataclass(frozen=True, slots=True)
class Blocked:
    """Newer entries wait for the missing entry `(epoch, seq)`.

    `otherwise`: where to go when the wait has lasted long enough that nothing can be missing after all.
    """

    epoch: str
    seq: int
    otherwise: Move | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """Everything that arrived in order is evaluated."""


IDLE = Idle()
Next = Read | Move | Blocked | Idle


def find_next(logs: Sequence[OpenLog], position: Position) -> Next:
    """What the follower should do at `position`. `logs`: the device's epochs that are not done, in any order."""
    live = {log.epoch: log for log in logs}
    current = live.get(position.epoch) if position.epoch is not None else None
    if current is None:
        return _start(live)
    if current.upto > position.seq:
        return Read(current.epoch, position.seq, current.upto)
    others = [log for log in logs if log is not current and log.has_content]
    if not current.is_complete:
        return Blocked(current.epoch, current.upto + 1) if current.gapped or others else IDLE
    return _leave(current, live) if others else IDLE


def _start(live: dict[str, OpenLog]) -> Next:
    """No epoch is being read: the lowest number among those that wait for no other."""
    roots = [log for log in live.values() if log.upto >= 1 and _predecessor(log, live) is None]
    if roots:
        return Move(min(roots, key=_number).epoch)
    return _blocked_before(live, current=None)


def _leave(current: OpenLog, live: dict[str, OpenLog]) -> Next:
    """The epoch being read has nothing more to give: its child, else a new disk, else what the rest hangs on.

    An epoch whose entry 1 is lost tells nothing of its place. It may be older than this one, which may be the running
    one, and leaving the running epoch would make all that follows late. So it has its turn once a later epoch names it,
    or when this epoch has been silent for long (`Blocked.otherwise`).
    """
    others = [log for log in live.values() if log is not current and log.upto >= 1]
    startable = [log for log in others if _predecessor(log, live) in (None, current)]
    named = {log.previous for log in live.values() if log.has_content}
    ranks = (
        [log for log in startable if log.previous == current.epoch],
        [log for log in startable if log.opened],
        [log for log in startable if log.epoch in named],
    )
    for rank in ranks:
        if rank:
            return Move(min(rank, key=_number).epoch, leaving=current.epoch, left_at=current.upto)
    unplaced = [log for log in startable if log.stored]
    if unplaced:
        log = min(unplaced, key=_number)
        return Blocked(log.epoch, 1, otherwise=Move(log.epoch, leaving=current.epoch, left_at=current.upto))
    return _blocked_before(live, current)


def _blocked_before(live: dict[str, OpenLog], current: OpenLog | None) -> Next:
    """Nothing can start: name the missing entry before the first epoch that has something."""
    waiting = [log for log in live.values() if log is not current and log.has_content]
    if not waiting:
        return IDLE
    log = min(waiting, key=_number)
    while (before := _predecessor(log, live)) is not None and before is not current:
        log = before
    return Blocked(log.epoch, log.upto + 1)


def _predecessor(log: OpenLog, live: dict[str, OpenLog]) -> OpenLog | None:
    """The epoch that must be finished before this one; None when there is none, or when they wait for each other."""
    before = live.get(log.previous) if log.previous is not None else None
    seen: set[str] = set()
    step = before
    while step is not None and step.epoch not in seen:
        if step is log:
            return None
        seen.add(step.epoch)
        step = live.get(step.previous) if step.previous is not None else None
    return before


def _number(log: OpenLog) -> int:
    return log.number
