"""What the columns of a recording mean: columns → channels with units, the column of the run, the column of time."""

import tomllib
from collections.abc import Mapping as Row
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import msgspec

from dermafleet.errors import PermanentError


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a channel's values come from: `(column - minus) * factor + offset`."""

    column: str
    minus: str | None = None
    factor: float = 1.0
    offset: float = 0.0

    def columns(self) -> tuple[str, ...]:
        return (self.column,) if self.minus is None else (self.column, self.minus)

    def value(self, row: Row[str, float]) -> float:
        return (row[self.column] - (row[self.minus] if self.minus else 0.0)) * self.factor + self.offset


class Mapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The meaning of one kind of recording.

    Attributes:
        columns: a file with all of these columns is of this kind; the mapping with most of them wins.
        unit: column that tells the runs apart; None = the file is one run.
        time: column of the recorded time.
        seconds: recorded seconds per unit of the time column.
        channels: channel name → source.
    """

    columns: tuple[str, ...]
    time: str
    channels: dict[str, Source]
    unit: str | None = None
    seconds: float = 1.0

    def numeric_columns(self) -> tuple[str, ...]:
        """The columns that must hold numbers."""
        sources = (column for source in self.channels.values() for column in source.columns())
        return tuple(dict.fromkeys((self.time, *sources)))


def read_mapping(text: str, name: str) -> Mapping:
    """Read a mapping file.

    Raises:
        PermanentError: it is no TOML or no mapping; the message names the file and the field.
    """
    try:
        mapping = msgspec.convert(tomllib.loads(text), Mapping)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise PermanentError(f"{name}: {error}") from error
    needed = {*mapping.numeric_columns(), *([mapping.unit] if mapping.unit else [])}
    if missing := needed - set(mapping.columns):
        raise PermanentError(f"{name}: columns: {', '.join(sorted(missing))} is used but not listed")
    return mapping


def shipped_mappings() -> dict[str, Mapping]:
    """The mappings in this package, by name."""
    folder = resources.files("device_agent.mappings")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {f.name.removesuffix(".toml"): read_mapping(f.read_text(), f.name) for f in files}


def choose_mapping(header: Sequence[str], file: Path) -> Mapping:
    """The shipped mapping for a file with these columns.

    Raises:
        PermanentError: none fits; the message names the file, its columns and what is known.
    """
    known = shipped_mappings()
    fitting = [m for m in known.values() if set(m.columns) <= set(header)]
    if not fitting:
        names = "; ".join(f"{name} ({', '.join(m.columns)})" for name, m in known.items())
        raise PermanentError(f"{file}: no mapping for the columns {', '.join(header)}; known are {names}")
    return max(fitting, key=lambda m: len(m.columns))
