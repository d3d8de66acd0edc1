"""Users' rules: versions that never change, of which at most one per key is active; in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.contracts.rules import InvalidRule, Rule, check_quantity
from dermafleet.errors import PermanentError
from dermafleet.storage.rule_tables import rule, rule_event

_decoder = msgspec.json.Decoder(tuple[Rule, ...])


class RuleConflict(PermanentError):
    """A rule is not in the state that this change needs."""


class RuleChanged(PermanentError):
    """A rule is not as its caller has seen it."""


class NoSuchRule(PermanentError):
    """There is no rule, or no version, of this name."""


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """One version; ``document`` is the rule itself."""

    key: str
    version: int
    document: dict[str, Any]
    state: str
    created_at: datetime
    created_by: str
    activated_at: datetime | None

    @property
    def rule(self) -> Rule:
        return msgspec.convert(self.document, Rule)


@dataclass(frozen=True, slots=True)
class RuleEvent:
    """One step in the life of a version."""

    id: int
    version: int
    transition: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule with all its versions and events, newest first.

    Attributes:
        revision: another one after every change.
    """

    key: str
    versions: Sequence[RuleVersion]
    events: Sequence[RuleEvent]

    @property
    def revision(self) -> int:
        return self.events[0].id

    @property
    def newest(self) -> RuleVersion:
        return self.versions[0]

    @property
    def active(self) -> RuleVersion | None:
        return next((each for each in self.versions if each.state == "active"), None)


@lru_cache(8)  # every step asks, and seldom is it another one
def decode_rules(document: str) -> tuple[Rule, ...]:
    """From a JSON list of stored rules."""
    return _decoder.decode(document)


async def list_rules(connection: AsyncConnection, *, after: str = "", limit: int | None = None) -> list[StoredRule]:
    """Rules in the order of their keys."""
    keys = select(rule.c.key).where(rule.c.key > after).group_by(rule.c.key).order_by(rule.c.key).limit(limit)
    return await _read(connection, list(await connection.scalars(keys)))


async def find_rule(connection: AsyncConnection, key: str) -> StoredRule | None:
    """A rule with everything about it."""
    found = await _read(connection, [key])
    return found[0] if found else None


async def need_rule(connection: AsyncConnection, key: str) -> StoredRule:
    """Likewise.

    Raises:
        NoSuchRule: there is none.
    """
    found = await find_rule(connection, key)
    if found is None:
        raise NoSuchRule(f"there is no rule {key!r}")
    return found


async def add_rule(connection: AsyncConnection, new: Rule, *, actor: str) -> StoredRule:
    """Store the first version of a rule, as a draft.

    Raises:
        InvalidRule: nobody measures what it looks at, or there is no such model.
        RuleConflict: the key is taken.
    """
    await _lock(connection)
    await check(connection, new)
    if await find_rule(connection, new.key) is not None:
        raise RuleConflict(f"there is a rule {new.key!r} already: add a version to it")
    return await _add(connection, new, 1, actor)


async def add_version(connection: AsyncConnection, new: Rule, *, actor: str, revision: int | None = None) -> StoredRule:
    """Store another version of a rule, as a draft; it says nothing until it is activated.

    Args:
        revision: what the caller has seen; None = whatever it is.

    Raises:
        InvalidRule: as `add_rule`.
        NoSuchRule: there is no rule of this key.
        RuleChanged: it was changed since.
    """
    stored = await _lock_rule(connection, new.key, revision)
    await check(connection, new)
    return await _add(connection, new, stored.newest.version + 1, actor)


async def activate(
    connection: AsyncConnection, key: str, *, actor: str, version: int | None = None, revision: int | None = None
) -> StoredRule:
    """Let a version, by default the newest, judge all that devices' logs tell from now on, instead of the active one.

    Raises:
        NoSuchRule: there is no such rule or version.
        RuleConflict: it is active already.
        RuleChanged: it was changed since.
    """
    stored = await _lock_rule(connection, key, revision)
    wanted = stored.newest.version if version is None else version
    chosen = next((each for each in stored.versions if each.version == wanted), None)
    if chosen is None:
        raise NoSuchRule(f"rule {key!r} has no version {wanted}")
    if chosen.state == "active":
        raise RuleConflict(f"version {wanted} of rule {key!r} is active already")
    await check(connection, chosen.rule)
    if stored.active is not None:
        await _move(connection, stored.active, "retired", actor)
    await _move(connection, chosen, "active", actor)
    return await need_rule(connection, key)


async def retire(connection: AsyncConnection, key: str, *, actor: str, revision: int | None = None) -> StoredRule:
    """Let a rule judge no more; an alarm of it that stands is cleared when its device's log goes on.

    Raises:
        NoSuchRule: there is none.
        RuleConflict: no version of it is active.
        RuleChanged: it was changed since.
    """
    stored = await _lock_rule(connection, key, revision)
    if stored.active is None:
        raise RuleConflict(f"no version of rule {key!r} is active")
    await _move(connection, stored.active, "retired", actor)
    return await need_rule(connection, key)


async def check(connection: AsyncConnection, new: Rule) -> None:
    """See that the models of a rule exist, and that somebody measures what it looks at.

    Raises:
        InvalidRule: no; the error names the field.
    """
    rows = (await connection.execute(_MODELS)).all()
    limits = {row.id: row.limits for row in rows if new.covers(row.id)}
    for i, model in enumerate(new.models):
        if model not in limits:
            raise InvalidRule(f"rule.models[{i}]", f"there is no device model {model!r}")
    components = [each.get("components") or {"main": {}} for each in limits.values()]
    if components and not any(new.component in each for each in components):
        raise InvalidRule("rule.component", f"no model that the rule is for has a component {new.component!r}")
    check_quantity(new, {name for each in components for names in each.values() for name in names.values()})


_MODELS = text("select id, limits from device_model")


async def _read(connection: AsyncConnection, keys: Sequence[str]) -> list[StoredRule]:
    versions: dict[str, list[RuleVersion]] = {key: [] for key in keys}
    events: dict[str, list[RuleEvent]] = {key: [] for key in keys}
    for row in await connection.execute(select(rule).where(rule.c.key.in_(keys)).order_by(rule.c.version.desc())):
        versions[row.key].append(RuleVersion(**row._mapping))
    happened = select(rule_event).where(rule_event.c.key.in_(keys)).order_by(rule_event.c.id.desc())
    for row in await connection.execute(happened):
        events[row.key].append(RuleEvent(row.id, row.version, row.transition, row.actor, row.at))
    return [StoredRule(key, versions[key], events[key]) for key in keys if versions[key]]


async def _lock(connection: AsyncConnection) -> None:
    """Let nobody else change rules until the transaction ends; it is seldom done, and by people."""
    await connection.execute(text("lock table rule in share row exclusive mode"))


async def _lock_rule(connection: AsyncConnection, key: str, revision: int | None) -> StoredRule:
    await _lock(connection)
    stored = await need_rule(connection, key)
    if revision is not None and revision != stored.revision:
        raise RuleChanged(f"rule {key!r} was changed since you looked at it: look again")
    return stored


async def _add(connection: AsyncConnection, new: Rule, version: int, actor: str) -> StoredRule:
    document = msgspec.to_builtins(msgspec.structs.replace(new, version=version))
    values = {"key": new.key, "version": version, "document": document, "state": "draft", "created_by": actor}
    await connection.execute(insert(rule).values(values))
    await _note(connection, new.key, version, "created", actor)
    return await need_rule(connection, new.key)


async def _move(connection: AsyncConnection, moved: RuleVersion, state: str, actor: str) -> None:
    values: dict[str, Any] = {"state": state}  # columns of different types
    if state == "active":
        values["activated_at"] = func.now()
    chosen = (rule.c.key == moved.key) & (rule.c.version == moved.version)
    await connection.execute(update(rule).where(chosen).values(values))
    await _note(connection, moved.key, moved.version, "activated" if state == "active" else "retired", actor)


async def _note(connection: AsyncConnection, key: str, version: int, transition: str, actor: str) -> None:
    values = {"key": key, "version": version, "transition": transition, "actor": actor}
    await connection.execute(insert(rule_event).values(values))
