"""Decoding of JSON from outside: every failure becomes one error that names the field.

What the decoder accepts is not yet what PostgreSQL can store or a reader can use: NUL in a text, integers without end
and bottomless nesting would each abort a whole COPY. (Lone surrogates and NaN are no JSON: the decoder refuses them.)
"""

import re
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from dermafleet.errors import InvalidMessage

T = TypeVar("T")

MAX_DEPTH = 32
_PATH = re.compile(r" - at (?P<key>`key` in )?`\$?\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]*)`$")


def decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw, error: type[InvalidMessage], name: str) -> T:
    """Decode ``raw``; whatever goes wrong is raised as ``error`` with a path that begins with ``name``."""
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as cause:
        raise _named(str(cause), error, name) from cause


def convert(document: object, shape: type[T], error: type[InvalidMessage], name: str) -> T:
    """Read a decoded document as ``shape``; whatever does not fit is raised as ``error``, as by `decode`."""
    try:
        return msgspec.convert(document, shape)
    except (msgspec.MsgspecError, RecursionError, ValueError) as cause:
        raise _named(str(cause), error, name) from cause


def find_bad_value(document: object, name: str) -> tuple[str, str] | None:
    """Where a decoded JSON document holds what jsonb cannot keep or a reader cannot use: (field, reason), or None."""
    waiting = [(document, name, 0)]
    while waiting:
        value, path, depth = waiting.pop()
        if reason := _reason_against(value, depth):
            return path, reason
        if isinstance(value, dict | list):
            waiting.extend((item, item_path, depth + 1) for item, item_path in _items(value, path))
    return None


def _named(text: str, error: type[InvalidMessage], name: str) -> InvalidMessage:
    place = _PATH.search(text)
    path = place["path"] if place else ""
    reason = text[: place.start()] if place else text
    if place and place["key"]:
        reason = f"has a bad key: {reason}"
    if missing := _MISSING.match(reason):
        path, reason = f"{path}.{missing['field']}".lstrip("."), "is missing"
    joint = "" if not path or path.startswith("[") else "."
    return error(f"{name}{joint}{path}", reason)


def _reason_against(value: object, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH}"
    match value:
        case str() if "\x00" in value:
            return "contains NUL"
        case int() if not -(2**63) <= value < 2**63:
            return "is an integer beyond 64 bits"
        case dict() if any("\x00" in key for key in value):
            return "has a key that contains NUL"
    return None


def _items(value: dict[str, object] | list[object], path: str) -> Iterator[tuple[object, str]]:
    if isinstance(value, dict):
        return ((item, f"{path}.{key}") for key, item in value.items())
    return ((item, f"{path}[{i}]") for i, item in enumerate(value))
