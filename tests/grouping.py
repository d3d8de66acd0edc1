"""A pytest plugin: how tests are shared out when two processes run them (``-n 2 --dist loadscope``).

A file stays together, so that its fixtures are made once. Tests that start whole systems stay together, because two
systems at the same time on two cores would wait for each other until deadlines pass. They take longest, and start first
because they are collected first. (A scheduler, not marks: with pytest 9.2, xdist ignores its own ``xdist_group``
without a word.)
"""

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

_WHOLE_SYSTEMS = ("tests/browser/", "tests/system/")
_SINGLE_TESTS = ("tests/model/",)
"""Long computations without fixtures: shared out one by one."""

_SAME_TABLES = ("tests/unit/diagnosis/",)
"""They compare with the same physics tables, which a process computes once."""


class Grouping(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out groups of tests; a process that has done its group gets the next one."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    if nodeid.startswith(_WHOLE_SYSTEMS):
        return "systems"
    if nodeid.startswith(_SAME_TABLES):
        return "tables"
    if nodeid.startswith(_SINGLE_TESTS):
        return nodeid
    return nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Grouping:
    config.option.loadscopereorder = False  # else the groups with most tests come first
    return Grouping(config, log)
