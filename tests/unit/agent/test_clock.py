"""Two clocks: one that may be wrong, one that only counts."""

from pathlib import Path

from device_agent.clock import StepWatch, SystemClock, WarpedClock, anchor_of, read_boot_id
from tests.unit.agent.build import NOW_MS, instant


def test_a_clock_before_2020_is_not_set() -> None:
    now = SystemClock(wall=lambda: 1000, uptime=lambda: 5000, boot="b").now()
    assert (now.clock, now.up, anchor_of(now)) == ("unset", 5000, None)


def test_the_clock_never_reads_below_its_floor() -> None:
    clock = SystemClock(wall=lambda: NOW_MS - 1, uptime=lambda: 5000, boot="b")
    assert clock.now().clock == "synced"
    clock.raise_floor(NOW_MS)
    assert (clock.now().at, clock.now().clock) == (NOW_MS, "unset")


def test_below_its_floor_the_clock_runs_on_from_it_so_that_a_step_is_one_step() -> None:
    wall, up = [NOW_MS], [0]
    clock, watch = SystemClock(wall=lambda: wall[0], uptime=lambda: up[0], boot="b"), StepWatch()
    clock.raise_floor(NOW_MS)
    steps = [watch.observe(clock.now())]
    wall[0] -= 7_200_000
    for _ in range(3):
        wall[0], up[0] = wall[0] + 60_000, up[0] + 60_000
        steps.append(watch.observe(clock.now()))
    assert (clock.now().at, clock.now().clock) == (NOW_MS + 180_000, "unset")
    assert steps == [None, None, None, None]


def test_holdover_is_told() -> None:
    clock = SystemClock(quality="holdover", wall=lambda: NOW_MS, uptime=lambda: 0, boot="b")
    assert clock.now().clock == "holdover"
    assert anchor_of(clock.now()) == NOW_MS


def test_a_step_is_seen_once_and_drift_is_none() -> None:
    watch = StepWatch()
    assert watch.observe(instant(0)) is None
    stepped = SystemClock(wall=lambda: instant(10).at + 5000, uptime=lambda: instant(10).up, boot="boot-1").now()
    assert watch.observe(stepped) == 5000
    again = SystemClock(wall=lambda: instant(20).at + 5300, uptime=lambda: instant(20).up, boot="boot-1").now()
    assert watch.observe(again) is None


def test_warped_time_reaches_the_present_and_stays_there() -> None:
    wall = [NOW_MS]
    clock = WarpedClock(start_at=NOW_MS - 100_000, speed=11, wall=lambda: wall[0])
    assert clock.now().at == NOW_MS - 100_000
    wall[0] += 1000
    assert clock.now().at == NOW_MS - 89_000
    assert clock.now().up == 11_000
    wall[0] += 60_000
    assert clock.now().at == wall[0]


def test_without_a_kernel_boot_id_each_start_is_a_boot(tmp_path: Path) -> None:
    assert read_boot_id(tmp_path / "none") != read_boot_id(tmp_path / "none")
