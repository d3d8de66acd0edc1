"""What must hold after every run."""

from tests.model.device import PENDING, Disk, Row
from tests.model.world import World


def find_violation(world: World, *, is_calm: bool) -> str | None:
    """The first promise that this run broke, in words; None if it kept all."""
    violation = _lost_or_doubled(world) or _invented(world) or _disordered(world)
    return violation or (_unevaluated(world) if is_calm else _stuck(world))


def _lost_or_doubled(world: World) -> str | None:
    """Every entry that a surviving disk confirmed is stored as it was, refused, or announced lost for a reason."""
    rows = (row for agent in world.agents for row in agent.disk.history.values())
    return next(filter(None, (_fate(world, row) for row in rows)), None)


def _fate(world: World, row: Row) -> str | None:
    store, oracle, key = world.store, world.oracle, row.key
    stored = store.entries.get(key)
    if stored is not None and stored.hash == row.hash:
        return None
    if (key, row.hash) in store.quarantine:
        return None if row.is_bad or world.faults.twin else f"{key} is sound and in quarantine"
    if stored is not None:
        return f"{key} is stored with other content than a disk confirmed"
    if key in oracle.let_go and world.was_restored:
        return None  # Acked and deleted, then the database went back to before: beyond what any protocol can keep.
    if any(held == row and state == PENDING for agent in world.agents for held, state, _ in agent.disk.rows.values()):
        return None  # Judged by `_stuck`.
    log = store.logs.get(key[0])
    if log is None or key[1] not in log.lost:
        return f"{key} is neither stored nor refused nor announced lost"
    if key not in oracle.given_up and not world.faults.clone:
        return f"{key} was given up without a reason"
    return None


def _invented(world: World) -> str | None:
    """Nothing is stored that no disk confirmed; the store itself keeps identities apart."""
    for key, stored in world.store.entries.items():
        row = world.oracle.appended.get(stored.hash)
        if row is None or row.key != key:
            return f"{key} is stored and was never appended"
    if not world.faults.may_lose:
        late = [key for key, stored in world.store.entries.items() if stored.is_late]
        lost = [epoch for epoch, log in world.store.logs.items() if log.lost]
        if late or lost:
            return f"late {late} or lost in {lost}, although no disk or database failed"
    return None


def _disordered(world: World) -> str | None:
    """What was evaluated is what is stored and not late, once, each disk's log in its order."""
    evaluated = world.store.evaluated
    if len(set(evaluated)) != len(evaluated):
        return "an entry was evaluated twice"
    for agent in world.agents:
        for ranks in _known_chains(world, agent.disk):
            own = [key for key in evaluated if key[0] in ranks]
            if own != sorted(own, key=lambda key: (ranks[key[0]], key[1])):
                return f"evaluated out of order: {own}"
    return None


def _unevaluated(world: World) -> str | None:
    on_time = {key for key, stored in world.store.entries.items() if not stored.is_late}
    difference = on_time ^ set(world.store.evaluated)
    return f"stored but not evaluated, or the other way: {difference}" if difference else None


def _known_chains(world: World, disk: Disk) -> list[dict[str, int]]:
    """The disk's epochs in order, cut where entry 1 is not in the database: there the order is that of first commit."""
    chains: list[dict[str, int]] = [{}]
    for rank, epoch in enumerate(disk.heads):
        opened = world.store.entries.get((epoch, 1))
        if opened is None or opened.is_late:
            chains.append({})
        chains[-1][epoch] = rank
    return chains


def _stuck(world: World) -> str | None:
    pending = [row.key for agent in world.agents for row, state, _ in agent.disk.rows.values() if state == PENDING]
    return f"never calm: pending {pending}, the follower at {world.store.position}: {world.store.follow()}"
