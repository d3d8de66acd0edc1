"""The two kinds of error: one that passes by itself, and one that does not."""


class DermafleetError(Exception):
    """An error of this product; its message is meant for a person."""


class TransientError(DermafleetError):
    """The same call may succeed later: retried in exactly one place, with back-off."""


class PermanentError(DermafleetError):
    """The same call will fail again: stored or reported, counted, never retried."""


class SettingError(PermanentError):
    """A setting is missing or wrong; the message names it and how to set it."""


_QUOTED_CHARACTERS = 300


class InvalidMessage(PermanentError):
    """Bytes from outside that do not follow the protocol.

    Field and reason may quote the sender: both are cut and cleaned here, so that any log or database can hold them.

    Attributes:
        field: the field at fault, as a path such as ``telemetry.ch.vacuum_inlet_kpa[3]``.
        reason: what is wrong with it, in words.
    """

    def __init__(self, field: str, reason: str) -> None:
        self.field = _printable(field)
        self.reason = _printable(reason)
        super().__init__(f"{self.field}: {self.reason}")


class InvalidHeader(InvalidMessage):
    """The header line is unusable: the message has no number and cannot be refused by it."""


class InvalidEntry(InvalidMessage):
    """The header is sound but the entry is not: it is refused by its number."""


def _printable(text: str) -> str:
    text = text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
