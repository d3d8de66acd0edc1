"""What a machine did in its life never goes back: not by a crash, not by a damaged file, not by an import."""

from itertools import pairwise
from pathlib import Path

import pytest

from dermafleet.contracts.records import Counters, Session, decode_session
from dermafleet.errors import SettingError
from device_agent.clock import Instant
from device_agent.counters import COUNTERS, Life, read_counters, read_import, write_counters
from device_agent.drivers import Operator, Sample
from device_agent.machine import Machine
from device_agent.outbox import Outbox
from device_agent.outbox_file import FILE_NAME
from device_agent.publisher import Link
from device_agent.recorder import Rates, Recorder
from device_agent.sessions import SessionRules
from tests.unit.agent.build import FixedClock, instant, opened

_EVERYTHING = 10**9


class StrokingDriver:
    """A pump that runs for ever, with strokes of 2 s and lifts of 1 s at 10 Hz."""

    ended = False

    def __init__(self, start: float) -> None:
        self.tenth = round(start * 10)

    def read(self, now: Instant) -> Sample | None:
        at = instant(self.tenth / 10)
        if at.up > now.up:
            return None
        vacuum = 2.4 if self.tenth % 30 < 10 else 40.0
        self.tenth += 1
        return Sample(at, {"pump_on": 1.0, "vacuum_inlet_kpa": vacuum}, 0.0)

    def close(self) -> None:
        pass


class Start:
    """One start of an agent on a disk, without a network."""

    def __init__(self, folder: Path, start: float) -> None:
        self.clock = FixedClock(instant(start))
        self.outbox: Outbox = opened(folder)
        self.machine = Machine(
            Link("D-1", brokers=()),
            clock=self.clock,
            driver=StrokingDriver(start),
            recorder=Recorder(Rates(idle_s=0, flush_s=0.5), SessionRules()),
            outbox=self.outbox,
        )
        self.machine.resume()

    def run(self, start: float, seconds: float, *, write: bool = True) -> None:
        for tenth in range(round(start * 10), round((start + seconds) * 10)):
            self.clock.current = instant(tenth / 10)
            self.machine.sample(tenth / 10)
            if write:
                self.machine.write()

    def die(self) -> list[Session]:
        """Lose power; returns the session entries on disk."""
        entries = self.outbox.take(100_000, _EVERYTHING, only_fitting=False)
        self.counted = read_counters(self.outbox.recall(COUNTERS))
        self.outbox.close()
        return [decode_session(e.raw)[0] for e in entries if e.kind == "session"]


def test_counters_on_disk_are_never_behind_what_any_entry_says_whenever_power_is_cut(tmp_path: Path) -> None:
    start, told = 0.0, list[Counters]()
    for seconds, unwritten in ((7.3, 0.0), (65.0, 3.0), (0.4, 2.0), (12.0, 0.7)):
        life = Start(tmp_path, start)
        life.run(start, seconds)
        life.run(start + seconds, unwritten, write=False)
        start += seconds + unwritten
        told = [s.counters for s in life.die() if s.counters is not None]
        assert life.counted is not None
        told.append(life.counted)
    assert len(told) >= 6
    assert len({c.generation for c in told}) == 1
    for before, after in pairwise(told):
        assert all(getattr(before, name) <= getattr(after, name) for name in Counters.__struct_fields__)
    assert told[-1].pump_s == pytest.approx(7.3 + 65 + 0.4 + 12, abs=3)
    assert told[-1].sessions == 2


def test_a_session_that_a_power_cut_ended_has_the_totals_up_to_the_last_block(tmp_path: Path) -> None:
    life = Start(tmp_path, 0)
    life.run(0, 40)
    life.die()
    again = Start(tmp_path, 60)
    start, end = again.die()
    assert (start.op, end.op, end.outcome, end.session) == ("start", "end", "power_loss", start.session)
    assert end.at - start.at == pytest.approx(39_000, abs=700)
    assert end.pump_s == pytest.approx((end.at - start.at) / 1000, abs=0.2)
    assert end.strokes == 13


def test_a_lost_outbox_begins_a_new_generation(tmp_path: Path) -> None:
    life = Start(tmp_path, 0)
    life.run(0, 10)
    [first, *_] = life.die()
    (tmp_path / FILE_NAME).write_bytes(b"broken")
    for rest in tmp_path.glob(f"{FILE_NAME}-*"):
        rest.unlink()
    again = Start(tmp_path, 20)
    again.run(20, 10)
    [second, *_] = again.die()
    assert first.counters is not None
    assert second.counters is not None
    assert first.counters.generation != second.counters.generation
    assert second.counters.strokes <= first.counters.strokes + 1


def test_what_the_operator_told_stands_in_the_log_behind_the_samples_before(tmp_path: Path) -> None:
    life = Start(tmp_path, 0)
    life.run(0, 5)
    assert life.machine.tell(Operator(button="end"))
    life.run(5, 0.3)
    [start, end] = life.die()
    assert (start.op, end.op) == ("start", "end")
    assert end.at == instant(5).at


def test_more_than_a_person_can_tell_is_not_taken(tmp_path: Path) -> None:
    life = Start(tmp_path, 0)
    assert [life.machine.tell(Operator(passes=n)) for n in range(101)] == [True] * 100 + [False]
    life.die()


def test_imported_hours_are_a_generation_of_their_own() -> None:
    imported = read_import(b'{"pump_s": 3600000, "strokes": 12}')
    assert (imported.pump_s, imported.strokes, imported.sessions) == (3_600_000, 12, 0)
    assert imported.generation != read_import(b"{}").generation
    assert Life(read_counters(write_counters(imported))).told() == imported


@pytest.mark.parametrize("document", [b"x", b"[]", b'{"hours": 1}', b'{"pump_s": -1}', b'{"generation": "00"}'])
def test_what_is_no_counter_is_not_imported(document: bytes) -> None:
    with pytest.raises(SettingError, match="--import"):
        read_import(document)


def test_counters_that_cannot_be_read_are_none() -> None:
    assert read_counters(None) is None
    assert read_counters("{}") is None
