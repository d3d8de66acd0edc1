"""Decoding of JSON from outside: every failure becomes one error that names the field.

PostgreSQL can store neither NUL nor a lone surrogate, in text or in jsonb, and one such row would abort a whole COPY.
"""

import json
import math
import re
from itertools import chain
from typing import TypeVar

import msgspec

from dermafleet.errors import InvalidMessage

T = TypeVar("T")

MAX_DEPTH = 32
_PATH = re.compile(r" - at `\$?\.?(?P<path>[^`]*)`$")


def decode(decoder: msgspec.json.Decoder[T], raw: bytes, error: type[InvalidMessage], name: str) -> T:
    """Decode ``raw``; whatever goes wrong is raised as ``error`` with a path that begins with ``name``."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as cause:
        text = str(cause)
        match = _PATH.search(text)
        path = f"{name}.{match['path']}" if match and match["path"] else name
        raise error(path, _PATH.sub("", text)) from cause


def find_bad_text(raw: bytes, name: str) -> tuple[str, str] | None:
    """Where a JSON document holds text that PostgreSQL refuses: (field, reason), or None.

    Only a document with a ``\\u`` escape can (raw control bytes and surrogates are no valid JSON).
    """
    if b"\\u" not in raw:
        return None
    return _walk(json.loads(raw), name, 0)


def find_bad_value(document: object, name: str) -> tuple[str, str] | None:
    """Where a decoded JSON document holds what jsonb cannot keep or a reader cannot use: (field, reason), or None."""
    return _walk(document, name, 0)


def _walk(value: object, name: str, depth: int) -> tuple[str, str] | None:
    if depth > MAX_DEPTH:
        return name, f"nested deeper than {MAX_DEPTH}"
    match value:
        case str():
            return _check_string(value, name)
        case float() if not math.isfinite(value):
            return name, "is not a finite number"
        case int() if abs(value) >= 2**63:
            return name, "is an integer beyond 64 bits"
        case list():
            found = (_walk(item, f"{name}[{i}]", depth + 1) for i, item in enumerate(value))
            return next(filter(None, found), None)
        case dict():
            keys = (_check_string(key, f"{name} key") for key in value)
            values = (_walk(item, f"{name}.{key}", depth + 1) for key, item in value.items())
            return next(filter(None, chain(keys, values)), None)
    return None


def _check_string(value: str, name: str) -> tuple[str, str] | None:
    if "\x00" in value:
        return name, "contains NUL"
    if any("\ud800" <= c <= "\udfff" for c in value):
        return name, "contains a lone surrogate"
    return None
