"""What is really wrong with a simulated machine. Written beside the data, never shown to a detector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class TrueFault:
    """One fault of one component.

    Attributes:
        fault: code as in alarms.
        component: ``main`` or another circuit.
        level: severity in the fault's own unit (`faults.FAULTS`).
        since_ms: when it began, Unix ms of true time; for ``over_vacuum`` when the limit was crossed.
        channel: of a sensor fault; empty otherwise.
    """

    fault: str
    component: str
    level: float
    since_ms: int
    channel: str = ""


class TruthFile:
    """One JSON line per change of what is wrong with one device: ``{"at":…,"faults":[…],"filter_index":{…}}``."""

    def __init__(self, folder: Path, device_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{device_id}.jsonl").open("ab")
        self._last: Sequence[TrueFault] | None = None

    def note(self, at_ms: int, faults: Sequence[TrueFault], filter_index: Mapping[str, float]) -> None:
        """Write a line if anything but the course of a level has changed."""
        known = None if self._last is None else [(each.fault, each.component, each.channel) for each in self._last]
        if known == [(each.fault, each.component, each.channel) for each in faults]:
            return
        self._last = tuple(faults)
        self._file.write(_encoder.encode({"at": at_ms, "faults": faults, "filter_index": filter_index}) + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
