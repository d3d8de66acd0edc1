"""Filters from new to their limit: when the advisory comes, how much warning there is, and the evening before."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

from bench.detection.cases import PUMP_S, limits_of
from bench.detection.pool import shares
from bench.detection.watch import Told, Watch
from device_agent.simulator.plan import Plan
from device_agent.simulator.scenario import simulate
from device_agent.simulator.stretches import Stretch
from services.alerts.context import Context
from services.alerts.forecast.library import Library, learn
from services.alerts.forecast.life import Life
from services.alerts.forecast.sessions import WARN_PROBABILITY

MODEL = "crystal-m1"
SESSIONS_A_DAY = 6
CHANGE_AT = 26.0
"""Filter index: well past the limit of 20, so that every filter reaches it."""
ADVISORY_INDEX = 5.0
TRAINING_DAYS, DAYS = 20, 30
"""A filter lasts about 75 sessions: 13 days."""
FAULT = "filter_clogged"


@dataclass(frozen=True, slots=True)
class Task:
    """Machines whose filters are worn out; ``library`` = what earlier filters of the model taught."""

    seed: int
    machines: int
    days: int
    library: Library


@dataclass(slots=True)
class Filter:
    """One filter; sessions are counted from the first one of its machine.

    Attributes:
        index_reached: session after which its true index was `ADVISORY_INDEX` or more.
        told: severity → session after which it was first told.
    """

    index_reached: int | None = None
    told: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evening:
    """One machine at the end of a day: whether it was warned of the next, and whether the limit came then."""

    is_warned: bool
    is_crossed: bool


@dataclass(frozen=True, slots=True)
class Worn:
    """What came of one task."""

    lives: tuple[Life, ...]
    filters: tuple[Filter, ...]
    evenings: tuple[Evening, ...]


def tasks(machines: int, seed: int, library: Library, *, days: int, jobs: int | None = None) -> list[Task]:
    return [Task(seed * 104_729 + n, size, days, library) for n, size in enumerate(shares(machines, jobs))]


def learn_from(worn: Sequence[Worn]) -> Library:
    """The library that the service would have learned from these filters."""
    return learn([life for each in worn for life in each.lives])


def plan_of(seed: int, machines: int, days: int) -> Plan:
    """New filters, worn out over and over again."""
    return Plan(
        seed=seed,
        machines=machines,
        model=MODEL,
        days=days,
        sessions_per_day=(SESSIONS_A_DAY, SESSIONS_A_DAY),
        pump_s=PUMP_S,
        change_filter_at=CHANGE_AT,
        start_used=False,
    )


def run(task: Task) -> Worn:
    """Simulate and watch them with every channel fitted."""
    context = Context(limits=limits_of(MODEL), profile="full", library=task.library)
    plan = plan_of(task.seed, task.machines, task.days)
    machines: dict[str, _Machine] = {}
    for stretch in simulate(plan):
        machines.setdefault(stretch.device_id, _Machine(Watch(stretch.device_id, context))).show(stretch)
    return Worn(
        lives=tuple(each.life for machine in machines.values() for each in machine.watch.lives),
        filters=tuple(each for machine in machines.values() for each in machine.filters),
        evenings=tuple(evening for machine in machines.values() for evening in machine.evenings()),
    )


@dataclass(slots=True)
class _Machine:
    watch: Watch
    filters: list[Filter] = field(default_factory=lambda: [Filter()])
    seen: int = 0
    index: float = 1.0
    days: list[int] = field(default_factory=list)
    crossed_days: set[int] = field(default_factory=set)

    def show(self, stretch: Stretch) -> None:
        self.watch.show(stretch)
        if stretch.filter_index < 0.5 * self.index:
            self.filters.append(Filter())
        self.index = stretch.filter_index
        current, session = self.filters[-1], self.watch.sessions
        if current.index_reached is None and self.index >= ADVISORY_INDEX:
            current.index_reached = session
        day = _day(int(stretch.at_ms[-1]))
        if day not in self.days:
            self.days.append(day)
        for told in self.watch.history[self.seen :]:
            self._note(current, told, day)
        self.seen = len(self.watch.history)

    def _note(self, current: Filter, told: Told, day: int) -> None:
        if told.alarm.fault != FAULT or told.transition not in ("raised", "reraised", "severity_up"):
            return
        for severity in range(1, told.alarm.severity + 1):
            if severity not in current.told:
                current.told[severity] = told.session
                if severity == 3:
                    self.crossed_days.add(day)

    def evenings(self) -> list[Evening]:
        """Every day but the last, unless the filter is past its limit already."""
        last = {_day(each.at_ms): each for each in self.watch.forecasts}
        found = []
        for day, following in zip(self.days, self.days[1:], strict=False):
            forecast = last.get(day)
            if forecast is None or forecast.ratio >= 1:
                continue
            is_warned = (forecast.evening_probability or 0.0) >= WARN_PROBABILITY
            found.append(Evening(is_warned, following in self.crossed_days))
        return found


def figures(worn: Sequence[Worn]) -> dict[str, float]:
    """Median delay of the advisory and lead of *service due*, in sessions; recall and error of evening warnings."""
    filters = [each for one in worn for each in one.filters]
    delays = [f.told[1] - f.index_reached for f in filters if f.index_reached is not None and 1 in f.told]
    leads = [f.told[3] - f.told[2] for f in filters if 3 in f.told and 2 in f.told]
    evenings = [each for one in worn for each in one.evenings]
    warned = [each for each in evenings if each.is_warned]
    crossed = [each for each in evenings if each.is_crossed]
    return {
        "filter_advisory_delay_sessions": median(delays) if delays else float("nan"),
        "filter_lead_sessions": median(leads) if leads else float("nan"),
        "evening_warning_recall": sum(each.is_warned for each in crossed) / len(crossed) if crossed else float("nan"),
        "evening_warning_false": sum(not e.is_crossed for e in warned) / len(warned) if warned else float("nan"),
    }


def detail(worn: Sequence[Worn]) -> dict[str, object]:
    """How many there were, and the spread behind the medians."""
    filters = [each for one in worn for each in one.filters]
    delays = sorted(f.told[1] - f.index_reached for f in filters if f.index_reached is not None and 1 in f.told)
    leads = sorted(f.told[3] - f.told[2] for f in filters if 3 in f.told and 2 in f.told)
    evenings = [each for one in worn for each in one.evenings]
    return {
        "filters": len(filters),
        "advisory_delays": delays,
        "leads": leads,
        "evenings": len(evenings),
        "evenings_crossed": sum(each.is_crossed for each in evenings),
        "evenings_warned": sum(each.is_warned for each in evenings),
    }


def _day(at_ms: int) -> int:
    return datetime.fromtimestamp(at_ms / 1000, UTC).toordinal()
