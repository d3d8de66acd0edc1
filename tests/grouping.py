"""A pytest plugin: how tests are shared out when two processes run them (``-n 2 --dist loadgroup``).

A file stays together, so that its fixtures are made once. Tests that start whole systems form one group: two systems at
the same time on two cores would wait for each other until deadlines pass.
"""

import pytest

_WHOLE_SYSTEMS = ("tests/system/", "tests/browser/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        file = item.nodeid.partition("::")[0]
        group = "systems" if file.startswith(_WHOLE_SYSTEMS) else file
        item.add_marker(pytest.mark.xdist_group(group))
