"""Filters recorded on real rigs, streamed through the very detector and forecast that run in production.

One recorded second is replayed as one hour of use. Every filter is judged by a library that has not seen it: 5 folds
over filters, drawn by the seed. One parameter set for all rigs; a rig differs in its rated limit alone.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.alerts.detectors.filter_clogged import State, evaluate
from services.alerts.forecast.judge import SERVICE_DUE
from services.alerts.forecast.library import Library, learn
from services.alerts.forecast.life import Life, Load
from services.alerts.forecast.remaining import Usage, forecast
from services.alerts.limits import Limits
from services.alerts.observation import Block, Observation

Floats = NDArray[np.float64]

FOLDS = 5
STRETCH = 3600
"""Recorded seconds become hours."""
KPA_PER_PSI = 6.894757
FIRST_S, AIR_STEP_S, LIQUID_STEP_S = 12.5, 1.0, 10.0
TIMELY, PREMATURE = (0.05, 0.30), 0.50


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded filter.

    Attributes:
        t_s, dp_kpa, flow_lpm: shapes (n,), up to its end.
        load: what it had to bear.
        life_s: recorded seconds to its limit.
    """

    name: str
    t_s: Floats
    dp_kpa: Floats
    flow_lpm: Floats
    load: Load
    life_s: float


@dataclass(frozen=True, slots=True)
class Rig:
    """Filters of one model.

    Attributes:
        first_s, step_s: the grid of ages, in recorded seconds, at which the forecast is compared with the truth.
    """

    name: str
    limits: Limits
    runs: Sequence[Run]
    first_s: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Told:
    """What was told about one run.

    Attributes:
        known, unknown: shape (k, 5): age, truth, p10, p50, p90 in recorded seconds; load known, not known.
        due_share: share of life left at the first alarm of severity >= 2; None = there was none.
    """

    known: Floats
    unknown: Floats
    due_share: float | None


def run(data: Path, seed: int) -> tuple[dict[str, float], dict[str, object]]:
    """Figures by key of the recorded filters, and what lies behind them.

    Raises:
        FileNotFoundError: the recordings are not there.
    """
    air, liquid = read_air(data), read_liquid(data)
    told = {rig.name: judge_rig(rig, seed) for rig in (air, liquid)}
    air_told, liquid_told = told[air.name], told[liquid.name]
    shares = [each.due_share for each in (*air_told, *liquid_told)]
    known = np.concatenate([each.known for each in (*air_told, *liquid_told)])
    figures = {
        "clog_timely": _share(share is not None and TIMELY[0] <= share <= TIMELY[1] for share in shares),
        "clog_premature": float(sum(share is not None and share > PREMATURE for share in shares)),
        "rul_air_rmse_known_s": _rmse(each.known for each in air_told),
        "rul_air_rmse_unknown_s": _rmse(each.unknown for each in air_told),
        "rul_liquid_mae_s": _mae(each.known for each in liquid_told),
        "rul_coverage": _coverage(known),
    }
    return figures, {name: _detail(each) for name, each in told.items()} | {"folds": FOLDS, "seed": seed}


def judge_rig(rig: Rig, seed: int) -> list[Told]:
    """Every run of a rig, judged by the library of the folds it is not in."""
    lives = [_life(rig, each) for each in rig.runs]
    order = np.random.default_rng(seed).permutation(len(lives))
    told: dict[int, Told] = {}
    for fold in range(FOLDS):
        test = order[fold::FOLDS]
        library = learn([lives[i] for i in range(len(lives)) if i not in test])
        told |= {int(i): _stream(rig, rig.runs[i], library) for i in test}
    return [told[i] for i in range(len(lives))]


def read_air(data: Path) -> Rig:
    """The air filter bench: rated limit 600 Pa, life ends with the record."""
    folder = data / "air_filter_bench"
    meta = {row["unit"]: row for row in _rows(folder / "runs_meta.csv.gz")}
    runs = []
    for unit, values in _series(folder / "runs.csv.gz", "unit", ("t_s", "dp_pa", "flow")).items():
        load = Load(float(meta[unit]["dust_feed_mm3_s_derived"]))
        life_s = float(meta[unit]["life_s"])
        runs.append(Run(unit, values[:, 0], values[:, 1] / 1000, values[:, 2], load, life_s))
    return Rig("air_filter_bench", Limits(filter_dp_kpa=0.6, architecture="bench"), runs, FIRST_S, AIR_STEP_S)


def read_liquid(data: Path) -> Rig:
    """The liquid filter rig: rated limit 20 psi; what was recorded after it is left out."""
    folder = data / "liquid_filter_rig"
    meta = {row["run"]: row for row in _rows(folder / "runs_meta.csv.gz")}
    names = ("t_s", "p_up_psi", "p_down_psi", "flow_ml_min")
    runs = []
    for name, values in _series(folder / "runs.csv.gz", "run", names).items():
        row, life_s = meta[name], float(meta[name]["eol_s"])
        low, high = map(float, row["particle_um"].split("-"))
        load = Load(float(row["solid_ratio_pct"]), {"particle_um": (low + high) / 2})
        t_s, up, down, flow = values[values[:, 0] <= life_s + 1e-6].T
        runs.append(Run(name, t_s, (up - down) * KPA_PER_PSI, flow / 1000, load, life_s))
    limits = Limits(filter_dp_kpa=20 * KPA_PER_PSI, architecture="bench")
    return Rig("liquid_filter_rig", limits, runs, LIQUID_STEP_S, LIQUID_STEP_S)


def _life(rig: Rig, run: Run) -> Life:
    """The whole run as a filter to learn from."""
    state = State()
    evaluate(state, _block(run, 0, len(run.t_s)), rig.limits)
    return Life(state.curve, run.load, run.life_s * STRETCH)


def _stream(rig: Rig, run: Run, library: Library) -> Told:
    """A run as it happens, with what was told at each age of the grid."""
    state, due_s, first = State(), None, 0
    known: list[tuple[float, ...]] = []
    unknown: list[tuple[float, ...]] = []
    for age_s in np.arange(rig.first_s, run.life_s, rig.step_s):
        end = int(np.searchsorted(run.t_s, age_s + 1e-6, "right"))
        seen = evaluate(state, _block(run, first, end), rig.limits, library)
        due_s, first = due_s if due_s is not None else _due_s(seen), end
        for usage, rows in ((Usage(run.load), known), (Usage(), unknown)):
            found = forecast(state.curve, library, usage)
            if found is not None:
                left = found.remaining_s
                rows.append((age_s, run.life_s - age_s, *(x / STRETCH for x in (left.p10, left.p50, left.p90))))
    seen = evaluate(state, _block(run, first, len(run.t_s)), rig.limits, library)
    due_s = due_s if due_s is not None else _due_s(seen)
    return Told(np.array(known), np.array(unknown), None if due_s is None else 1 - due_s / run.life_s)


def _block(run: Run, first: int, end: int) -> Block:
    at_ms = np.round(run.t_s[first:end] * 1000 * STRETCH).astype(np.int64)
    channels = {"filter_dp_kpa": run.dp_kpa[first:end], "flow_lpm": run.flow_lpm[first:end]}
    return Block("e", end, "b", int(at_ms[0]) if end > first else 0, at_ms, channels)


def _due_s(seen: Sequence[Observation]) -> float | None:
    """Recorded seconds at the first alarm of severity >= 2."""
    epoch = datetime.fromtimestamp(0, UTC)
    return next(
        ((each.at - epoch).total_seconds() / STRETCH for each in seen if (each.severity or 0) >= SERVICE_DUE), None
    )


def _detail(told: Sequence[Told]) -> dict[str, object]:
    shares = sorted(each.due_share if each.due_share is not None else 0.0 for each in told)
    worst = max(told, key=lambda each: _rmse([each.known]))
    found: dict[str, object] = {"runs": len(told), "due_share_sorted": [round(share, 3) for share in shares]}
    for name, parts in (("known", [each.known for each in told]), ("unknown", [each.unknown for each in told])):
        rows = np.concatenate(parts)
        found[name] = {
            "rmse_per_run_s": round(_rmse(parts), 3),
            "mae_s": round(_mae(parts), 3),
            "coverage": round(_coverage(rows), 3),
            "width_s": round(float((rows[:, 4] - rows[:, 2]).mean()), 2),
        }
    return found | {"worst_run_rmse_s": round(_rmse([worst.known]), 2)}


def _rmse(parts: Iterable[Floats]) -> float:
    return float(np.mean([np.sqrt(np.mean((rows[:, 3] - rows[:, 1]) ** 2)) for rows in parts]))


def _mae(parts: Iterable[Floats]) -> float:
    rows = np.concatenate(list(parts))
    return float(np.abs(rows[:, 3] - rows[:, 1]).mean())


def _coverage(rows: Floats) -> float:
    return float(((rows[:, 1] >= rows[:, 2]) & (rows[:, 1] <= rows[:, 4])).mean())


def _share(claims: Iterable[bool]) -> float:
    found = list(claims)
    return sum(found) / len(found)


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", newline="") as lines:
        yield from csv.DictReader(lines)


def _series(file: Path, key: str, names: Sequence[str]) -> dict[str, Floats]:
    """Per filter its rows, in order of time: shape (n, len(names))."""
    found = defaultdict(list)
    for row in _rows(file):
        found[row[key]].append([float(row[name]) for name in names])
    series = {name: np.array(rows) for name, rows in found.items()}
    return {name: rows[np.argsort(rows[:, 0], kind="stable")] for name, rows in series.items()}
