"""Pages of a list, by the key of the last row: complete and stable while rows come and go."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query

from services.api.problems import invalid_parameter

MAX_LIMIT = 500
"""Rows of one page: more is slower to send than to ask for again."""

_MAX_UTC_OFFSET = timedelta(hours=15)
"""PostgreSQL reads no larger one."""

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most rows of this page.")]
Cursor = Annotated[str | None, Query(max_length=400, description="`next_cursor` of the page before.")]

Row = TypeVar("Row")
Key = TypeVar("Key")


def decode_cursor(cursor: str | None, form: type[Key]) -> Key | None:
    """The key that a cursor stands for; None for the first page.

    Raises:
        Refused: it is not a cursor of this list.
    """
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        key = msgspec.json.decode(raw, type=form)
        if not _is_storable(key):
            raise ValueError("no row can have such a key")
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise invalid_parameter("cursor", "is not the next_cursor of a page of this list") from error
    return key


def _is_storable(key: object) -> bool:
    """Whether PostgreSQL takes it as a value: a forged cursor may hold what no row does."""
    match key:
        case str():
            return "\0" not in key
        case int():
            return abs(key) < 2**63
        case datetime():
            return (offset := key.utcoffset()) is not None and abs(offset) <= _MAX_UTC_OFFSET
        case tuple():
            return all(_is_storable(part) for part in key)
    return True


def encode_cursor(key: Any) -> str:  # whatever msgspec can encode: text, numbers, times, ids and tuples of them
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def cut(rows: Sequence[Row], limit: int, key: Callable[[Row], Any]) -> tuple[Sequence[Row], str | None]:
    """A page of at most ``limit`` rows out of up to ``limit + 1``, and the cursor of the next page, if there is one."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode_cursor(key(rows[limit - 1]))
