"""Work for all cores: independent tasks, results in the order of the tasks."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Found = TypeVar("Found")


def run_all(work: Callable[[Task], Found], tasks: Sequence[Task], *, jobs: int | None) -> Iterator[Found]:
    """``work`` on each task; with one job in this process, which is easier to profile."""
    count = min(jobs or os.cpu_count() or 1, len(tasks))
    if count <= 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, tasks)
