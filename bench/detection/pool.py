"""Work for all cores: independent tasks, results in the order of the tasks."""

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

AT_ONCE = 256
"""Machines that the simulator advances at the same time: fewer are hardly faster."""

Task = TypeVar("Task")
Found = TypeVar("Found")


def shares(machines: int, jobs: int | None) -> list[int]:
    """Machines in equal parts, as few as keep all jobs busy."""
    count = jobs or os.cpu_count() or 1
    return split(machines, min(count * math.ceil(machines / count / AT_ONCE), machines))


def split(machines: int, parts: int) -> list[int]:
    """Sizes of equal parts, the larger ones first."""
    return [machines // parts + (number < machines % parts) for number in range(parts)]


def run_all(work: Callable[[Task], Found], tasks: Sequence[Task], *, jobs: int | None) -> Iterator[Found]:
    """``work`` on each task; with one job in this process, which is easier to profile."""
    count = min(jobs or os.cpu_count() or 1, len(tasks))
    if count <= 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, tasks)
