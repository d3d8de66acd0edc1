"""The two kinds of error: one that passes by itself, and one that does not."""


class DermafleetError(Exception):
    """An error of this product; its message is meant for a person."""


class TransientError(DermafleetError):
    """The same call may succeed later: retried in exactly one place, with back-off."""


class PermanentError(DermafleetError):
    """The same call will fail again: stored or reported, counted, never retried."""


class SettingError(PermanentError):
    """A setting is missing or wrong; the message names it and how to set it."""


class InvalidMessage(PermanentError):
    """Bytes from outside that do not follow the protocol.

    Attributes:
        field: the field at fault, as a path such as ``ch.vacuum_inlet_kpa[3]``.
        reason: what is wrong with it, in words.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class InvalidHeader(InvalidMessage):
    """The header line is unusable: the message has no number and cannot be refused by it."""


class InvalidEntry(InvalidMessage):
    """The header is sound but the entry is not: it is refused by its number."""
