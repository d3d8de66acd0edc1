"""Who is asking: a person by the cookie of a login, or a program by an API key."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from dermafleet.storage import accounts
from dermafleet.storage.accounts import Account
from dermafleet.storage.engine import translate
from services.api.context import Context, InContext, Now
from services.api.problems import cross_site, login_failed, login_needed, not_allowed, too_many_tries

COOKIE = "dermafleet_login"
CSRF_HEADER = "X-Requested-With"
CSRF_VALUE = "dermafleet"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """An account, and what it has shown to prove it."""

    account: Account
    kind: Literal["login", "key"]
    secret: str

    def __repr__(self) -> str:
        return f"Caller({self.account.email}, by {self.kind})"


async def caller(request: Request, parts: InContext, now: Now) -> Caller:
    """Who is asking. An API key goes before a cookie; a change by cookie must come from our own pages.

    Raises:
        Refused: nobody we know, or a request that another site's page could have made.
    """
    header = request.headers.get("authorization", "")
    if header.lower().startswith(BEARER):
        found = await find_caller(parts.engine, "key", header[len(BEARER) :].strip(), now)
    elif token := request.cookies.get(COOKIE):
        if request.method not in SAFE_METHODS and request.headers.get(CSRF_HEADER) != CSRF_VALUE:
            raise cross_site(CSRF_HEADER, CSRF_VALUE)
        found = await find_caller(parts.engine, "login", token, now)
    else:
        found = None
    if found is None:
        raise login_needed()
    return found


AnyCaller = Annotated[Caller, Depends(caller, scope="function")]


async def editor(who: AnyCaller) -> Caller:
    """Who is asking, if they may change something.

    Raises:
        Refused: they may only look.
    """
    if who.account.role != "admin":
        raise not_allowed(who.account.role)
    return who


Editor = Annotated[Caller, Depends(editor, scope="function")]


async def find_caller(engine: AsyncEngine, kind: Literal["login", "key"], secret: str, now: datetime) -> Caller | None:
    """Whose login or key this is, if it is valid at ``now``."""
    with translate():
        async with engine.connect() as connection:
            if kind == "login":
                account = await accounts.account_of_login(connection, secret, now=now)
            else:
                account = await accounts.account_of_key(connection, secret, now=now)
                if account:
                    await accounts.note_key_use(connection, secret, now=now)
    return Caller(account, kind, secret) if account else None


async def log_in(parts: Context, email: str, password: str, address: str, now: datetime) -> tuple[Account, str]:
    """Check a password; returns the account and the token of a new login.

    Raises:
        Refused: the password is wrong, or there were too many tries.
    """
    email = email.strip().lower()
    if wait_s := parts.tries.wait_s(email, address, now):
        raise too_many_tries(wait_s)
    with translate():
        async with parts.engine.connect() as connection:
            stored = await accounts.stored_password(connection, email)
    async with parts.tries.slot():  # in a thread, few at a time: argon2 is meant to be slow
        is_right = await asyncio.to_thread(accounts.password_matches, stored, password)
    if stored is None or not is_right:
        parts.tries.note_failure(email, address, now)
        raise login_failed()
    parts.tries.note_success(email)
    expires_at = now + timedelta(hours=parts.settings.login_hours)
    with translate():
        async with parts.engine.connect() as connection:
            return stored.account, await accounts.open_login(connection, stored.account, now=now, expires_at=expires_at)


async def log_out(parts: Context, who: Caller) -> None:
    """End a login. An API key is not ended by this."""
    if who.kind == "login":
        with translate():
            async with parts.engine.connect() as connection:
                await accounts.close_login(connection, who.secret)


def set_cookie(response: Response, parts: Context, token: str) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(parts.settings.login_hours * 3600),
        httponly=True,
        samesite="lax",
        secure=parts.settings.secure_cookies,
    )


def drop_cookie(response: Response, parts: Context) -> None:
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=parts.settings.secure_cookies)
