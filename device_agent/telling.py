"""What a person tells the agent by the command line: words like ``purpose=cleaning`` into what the machine's own panel
would tell, and over the local socket to the running agent.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dermafleet.errors import SettingError
from device_agent.drivers import Operator

_LISTS = ("contraindications", "indications", "body_sites")


def parse_told(words: Sequence[str]) -> Operator:
    """Words as ``field=value``; lists by commas, maintenance as ``CODE``, ``CODE:component`` or ``CODE:component:lot``.

    Raises:
        SettingError: a word is none of this, or says what the vocabulary does not have.
    """
    told: dict[str, Any] = {}
    for word in words:
        name, is_pair, value = word.partition("=")
        if not is_pair or not value:
            raise SettingError(f"tell: {word!r} is not field=value; fields: {', '.join(Operator.__struct_fields__)}")
        if name == "maintenance":
            done = zip(("type", "component", "part_lot"), value.split(":", 2), strict=False)
            told.setdefault(name, []).append(dict(done))
        else:
            told[name] = value.split(",") if name in _LISTS else value
    try:
        return msgspec.convert(told, Operator, strict=False)
    except msgspec.ValidationError as error:
        raise SettingError(f"tell: {error}") from error


def question(operator: Operator) -> str:
    """As one line for the local socket."""
    return f"tell {msgspec.json.encode(operator).decode()}"


def answer(text: str, tell: Callable[[Operator], bool]) -> bytes:
    """Hand over what came by the local socket; as JSON, what came of it."""
    try:
        is_taken = tell(msgspec.json.decode(text, type=Operator))
    except msgspec.MsgspecError as error:
        return msgspec.json.encode({"error": str(error)})
    return msgspec.json.encode({"told": True} if is_taken else {"error": "too much waits already"})
