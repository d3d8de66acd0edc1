"""In which order a backtest reads a device's epochs."""

from dermafleet.storage.follow import OpenLog
from services.alerts.backtest import reading_order


def log(epoch: str, number: int, previous: str | None, upto: int = 5) -> OpenLog:
    return OpenLog(epoch, number, True, previous, upto, upto, False, True)


def test_epochs_are_read_as_the_follower_reads_them_not_as_they_arrived() -> None:
    logs = [log("c", 1, "b"), log("a", 3, None), log("b", 2, "a", upto=9)]
    order = list(reading_order(logs, {"a": 1, "b": 4, "c": 1}))
    assert [(read.epoch, read.after, read.upto) for read in order] == [("a", 0, 5), ("b", 3, 9), ("c", 0, 5)]


def test_epochs_whose_predecessors_lie_before_the_period_are_read_all_the_same() -> None:
    logs = [log("x", 4, "w"), log("z", 6, "lost")]
    assert [read.epoch for read in reading_order(logs, {"x": 1, "z": 1})] == ["x", "z"]


def test_nothing_stored_is_nothing_to_read() -> None:
    assert list(reading_order([], {})) == []
