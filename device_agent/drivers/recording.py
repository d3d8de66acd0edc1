"""Recorded runs from CSV files, in channels and recorded seconds."""

import csv
import gzip
import logging
import math
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dermafleet.errors import PermanentError
from device_agent.drivers.mapping import Mapping, choose_mapping, read_mapping

log = logging.getLogger(__name__)

_RUN_FILES = ("runs*.csv", "runs*.csv.gz", "train*.csv", "train*.csv.gz")


@dataclass(slots=True)
class Run:
    """One recorded run.

    Attributes:
        unit: its name in the recording.
        seconds: recorded time of each sample, not decreasing.
        channels: channel name → one value per sample.
    """

    unit: str
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    channels: "dict[str, array[float]]" = field(default_factory=dict)

    def span_s(self) -> float:
        """Recorded seconds from the first sample to the last."""
        return self.seconds[-1] - self.seconds[0]

    def sort(self) -> bool:
        """Bring samples that a recorder wrote too early or too late to their place; returns whether there were any."""
        order = sorted(range(len(self.seconds)), key=self.seconds.__getitem__)
        if order == list(range(len(order))):
            return False
        self.seconds = array("d", (self.seconds[i] for i in order))
        self.channels = {name: array("d", (values[i] for i in order)) for name, values in self.channels.items()}
        return True


def load_runs(source: Path, mapping_file: Path | None = None) -> list[Run]:
    """Read all runs of a CSV file, or of a folder with ``runs*.csv[.gz]`` or ``train*.csv[.gz]``.

    The order is that of ``runs_meta`` if the folder has one, else that of the rows.

    Raises:
        PermanentError: the recording cannot be read; the message names file, line and column.
    """
    file, meta = _find(source)
    with _rows(file) as (header, rows):
        mapping = _mapping(mapping_file) if mapping_file else choose_mapping(header, file)
        if missing := set(mapping.columns) - set(header):
            raise PermanentError(f"{file}: line 1: column {', '.join(sorted(missing))} is missing")
        runs = _read_runs(file, header, rows, mapping)
    if not runs:
        raise PermanentError(f"{file}: there are no rows")
    return _in_order_of(meta, runs, mapping, file) if meta and mapping.unit else list(runs.values())


def _find(source: Path) -> tuple[Path, Path | None]:
    if source.is_file():
        return source, None
    if not source.is_dir():
        raise PermanentError(f"{source}: no such file or folder")
    found = sorted({f for pattern in _RUN_FILES for f in source.glob(pattern)})
    metas = [f for f in found if "_meta" in f.name]
    files = [f for f in found if "_meta" not in f.name]
    if len(files) != 1:
        what = "no runs*.csv[.gz] or train*.csv[.gz]" if not files else f"more than one: {', '.join(map(str, files))}"
        raise PermanentError(f"{source}: {what}")
    return files[0], metas[0] if metas else None


def _mapping(file: Path) -> Mapping:
    try:
        return read_mapping(file.read_text(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{file}: {error}") from error


@contextmanager
def _rows(file: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The header and the rows below it."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8-sig", newline="") as text:
            rows = csv.reader(text)
            header = next(rows, None)
            if not header:
                raise PermanentError(f"{file}: line 1: there are no column names")
            yield header, rows
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise PermanentError(f"{file}: {error}") from error


def _read_runs(file: Path, header: list[str], rows: Iterator[list[str]], mapping: Mapping) -> dict[str, Run]:
    places = {column: header.index(column) for column in mapping.numeric_columns()}
    unit_place = header.index(mapping.unit) if mapping.unit else None
    runs: dict[str, Run] = {}
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise PermanentError(f"{file}: line {line}: {len(row)} columns, the header has {len(header)}")
        numbers = {column: _number(row[place], file, line, column) for column, place in places.items()}
        unit = row[unit_place] if unit_place is not None else file.name
        run = runs.setdefault(unit, Run(unit))
        run.seconds.append(numbers[mapping.time] * mapping.seconds)
        for name, source in mapping.channels.items():
            run.channels.setdefault(name, array("d")).append(source.value(numbers))
    for run in runs.values():
        if run.sort():
            log.warning("%s: run %s is not in the order of column %s: it was sorted", file, run.unit, mapping.time)
    return runs


def _number(text: str, file: Path, line: int, column: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise PermanentError(f"{file}: line {line}: column {column}: {text[:40]!r} is not a number")
    return number


def _in_order_of(meta: Path, runs: dict[str, Run], mapping: Mapping, file: Path) -> list[Run]:
    with _rows(meta) as (header, rows):
        if mapping.unit not in header:
            raise PermanentError(f"{meta}: line 1: column {mapping.unit} is missing")
        place = header.index(mapping.unit)
        units = [row[place] for row in rows if len(row) > place]
    if absent := [unit for unit in units if unit not in runs]:
        raise PermanentError(f"{meta}: run {absent[0]} is not in {file.name}")
    return [runs[unit] for unit in dict.fromkeys(units)]
