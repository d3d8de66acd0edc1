"""What people said about the alarms of a real fleet: precision and recall by their verdicts."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from dermafleet.errors import PermanentError

Verdict = Literal["confirmed", "not_found", "false_alarm", "duplicate", "missed"]


class Judged(msgspec.Struct, frozen=True):
    """One line of an export: an alarm and what a person found; ``missed`` = a fault without an alarm."""

    fault: str
    verdict: Verdict
    detector_version: int = 0


def judge(file: Path) -> tuple[dict[str, float], dict[str, object]]:
    """Precision and recall over all faults, and the counts per fault and detector version. Duplicates do not count.

    Raises:
        PermanentError: the file or a line of it cannot be read; the message names the line.
    """
    counts: dict[str, Counter[str]] = {}
    for each in read(file):
        counts.setdefault(f"{each.fault} v{each.detector_version}", Counter())[each.verdict] += 1
    total: Counter[str] = sum(counts.values(), Counter())
    right, wrong = total["confirmed"], total["not_found"] + total["false_alarm"]
    figures = {}
    if right + wrong:
        figures["verdict_precision"] = right / (right + wrong)
    if right + total["missed"]:
        figures["verdict_recall"] = right / (right + total["missed"])
    return figures, {name: dict(each) for name, each in sorted(counts.items())}


def read(file: Path) -> Iterator[Judged]:
    """The lines of an export, JSON each."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise PermanentError(f"--verdicts: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            yield msgspec.json.decode(line, type=Judged)
        except msgspec.DecodeError as error:
            raise PermanentError(f"--verdicts: {file}, line {number}: {error}") from error
