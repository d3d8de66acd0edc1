"""Who may use the API: people with a password, their logins, and the API keys of programs.

Passwords are hashed with argon2id. Login tokens and API keys carry 256 random bits, so a plain SHA-256 protects them:
whoever reads the database cannot use what is in it.
"""

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import argon2
import psycopg
from sqlalchemy import delete, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dermafleet.errors import PermanentError
from dermafleet.storage.engine import translate
from dermafleet.storage.tables import api_key, login, user_account

ROLES = ("admin", "viewer")
KEY_PREFIX = "flt"
_MIN_PASSWORD = 12

_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""OWASP's minimum for argon2id: 19 MiB and about 20 ms a try."""

_NOBODY = _hasher.hash(secrets.token_hex(16))
"""What the password of an unknown user is compared with, so that both take the same time."""


@dataclass(frozen=True, slots=True)
class Account:
    """A person, or the person an API key acts for."""

    id: uuid.UUID
    email: str
    role: str


@dataclass(frozen=True, slots=True)
class StoredPassword:
    """An account and what its password must match."""

    account: Account
    password_hash: str


def create_user(connection: psycopg.Connection[Any], email: str, password: str, *, role: str = "admin") -> uuid.UUID:
    """Create an account, or give an existing one this password and role; its logins end then. The caller commits.

    Raises:
        PermanentError: the e-mail address, the password or the role is not acceptable; the message says why.
    """
    email = _checked_email(email)
    if len(password) < _MIN_PASSWORD:
        raise PermanentError(f"a password has at least {_MIN_PASSWORD} characters")
    if role not in ROLES:
        raise PermanentError(f"role {role!r} is not one of {', '.join(ROLES)}")
    with translate():
        row = connection.execute(
            "insert into user_account (id, email, password_hash, role) values (%s, %s, %s, %s) "
            "on conflict (email) do update set password_hash = excluded.password_hash, role = excluded.role "
            "returning id",
            (uuid.uuid4(), email, _hasher.hash(password), role),
        ).fetchone()
        if row is None:
            raise PermanentError("the database gave no answer")
        connection.execute("delete from login where user_id = %s", (row[0],))
    return uuid.UUID(str(row[0]))


def create_api_key(
    connection: psycopg.Connection[Any], email: str, name: str, *, expires_at: datetime | None = None
) -> str:
    """Create an API key ``flt_<id>_<secret>`` that acts for an account; this is the only time it can be seen.

    The caller commits.

    Raises:
        PermanentError: there is no such account.
    """
    key_id = uuid.uuid4()
    key = f"{KEY_PREFIX}_{key_id.hex}_{secrets.token_urlsafe(32)}"
    with translate():
        found = connection.execute(
            "insert into api_key (id, user_id, name, key_hash, expires_at) "
            "select %s, id, %s, %s, %s from user_account where email = %s",
            (key_id, name, hash_secret(key), expires_at, _checked_email(email)),
        )
    if found.rowcount != 1:
        raise PermanentError(f"there is no user {email}")
    return key


def password_matches(stored: StoredPassword | None, password: str) -> bool:
    """Whether a password is right. Takes the same time for nobody as for somebody; blocks for some 20 ms."""
    try:
        _hasher.verify(stored.password_hash if stored else _NOBODY, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return stored is not None


def hash_secret(secret: str) -> bytes:
    """What is stored of a login token or an API key."""
    return hashlib.sha256(secret.encode()).digest()


async def stored_password(connection: AsyncConnection, email: str) -> StoredPassword | None:
    """The account of an e-mail address and its password's hash."""
    row = (await connection.execute(select(user_account).where(user_account.c.email == email.strip().lower()))).first()
    return StoredPassword(Account(row.id, row.email, row.role), row.password_hash) if row else None


async def open_login(connection: AsyncConnection, account: Account, *, now: datetime, expires_at: datetime) -> str:
    """Open a login and return its token; logins that have expired are removed on the way."""
    token = secrets.token_urlsafe(32)
    await connection.execute(delete(login).where(login.c.expires_at < now))
    await connection.execute(
        insert(login).values(token_hash=hash_secret(token), user_id=account.id, expires_at=expires_at)
    )
    return token


async def close_login(connection: AsyncConnection, token: str) -> None:
    """End a login; ending it twice is no error."""
    await connection.execute(delete(login).where(login.c.token_hash == hash_secret(token)))


async def account_of_login(connection: AsyncConnection, token: str, *, now: datetime) -> Account | None:
    """Whose login this is, if it is still valid."""
    query = (
        select(user_account.c.id, user_account.c.email, user_account.c.role)
        .join(login, login.c.user_id == user_account.c.id)
        .where(login.c.token_hash == hash_secret(token), login.c.expires_at > now)
    )
    row = (await connection.execute(query)).first()
    return Account(row.id, row.email, row.role) if row else None


async def account_of_key(connection: AsyncConnection, key: str, *, now: datetime) -> Account | None:
    """Whose API key this is, if it is still valid."""
    query = (
        select(user_account.c.id, user_account.c.email, user_account.c.role)
        .join(api_key, api_key.c.user_id == user_account.c.id)
        .where(api_key.c.key_hash == hash_secret(key), or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > now))
    )
    row = (await connection.execute(query)).first()
    return Account(row.id, row.email, row.role) if row else None


async def note_key_use(connection: AsyncConnection, key: str, *, now: datetime) -> None:
    """Note when a key was used last, at most once a minute: a row update per request would be waste."""
    stale = text("used_at is null or used_at < :now - interval '1 minute'").bindparams(now=now)
    await connection.execute(update(api_key).where(api_key.c.key_hash == hash_secret(key), stale).values(used_at=now))


def _checked_email(email: str) -> str:
    email = email.strip().lower()
    name, at, domain = email.partition("@")
    if not (name and at and domain) or any(c.isspace() for c in email) or len(email) > 254:
        raise PermanentError(f"{email[:80]!r} is not an e-mail address")
    return email
