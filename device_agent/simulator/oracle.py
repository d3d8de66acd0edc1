"""The oracle: what the outbox confirmed, in a file of its own, to compare with what the server has stored."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from dermafleet.contracts.envelope import Position
from device_agent.recorder import Cut

_encoder = msgspec.json.Encoder()


class Oracle:
    """One line per telemetry entry of one device, written after the outbox committed it."""

    def __init__(self, folder: Path, device_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._done = folder / f"{device_id}.done"
        self._done.unlink(missing_ok=True)
        self._file = (folder / f"{device_id}.jsonl").open("ab")

    def __call__(self, written: Sequence[tuple[Position, Cut]]) -> None:
        for (epoch, seq), cut in written:
            block = cut.block
            line = {"epoch": epoch, "seq": seq, "dt": block.dt, "t0": block.t0, "ch": block.ch, "taken": cut.taken}
            self._file.write(_encoder.encode(line) + b"\n")
        self._file.flush()

    def finish(self, samples_read: int, samples_appended: int) -> None:
        """Note that there will be no further samples."""
        counts = {"samples_read": samples_read, "samples_appended": samples_appended}
        unfinished = self._done.with_suffix(".done-part")
        unfinished.write_bytes(_encoder.encode(counts) + b"\n")
        unfinished.rename(self._done)

    def close(self) -> None:
        self._file.close()
