"""What a test does when the machine lacks a Debian package: skip visibly, or fail where it was promised (CI).

Also a pytest plugin: the end of a run says in one line which packages to install, and how long each folder took.
"""

import os
import re
from collections import defaultdict
from typing import NoReturn

import pytest

_REASON = re.compile(r"needs Debian package (\S+)")


def missing(what: str, package: str) -> NoReturn:
    """End the running test because `what` is not on this machine; `package` is the Debian package that brings it.

    Skips with a reason; fails with ``CI=true``, because `.ci/run` installs every package the tests need and a skipped
    test there would be a hole nobody sees.
    """
    reason = f"{what} is missing: needs Debian package {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seconds: defaultdict[str, float] = defaultdict(float)
    packages = set()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(report.nodeid.split("/")[:2])] += report.duration
                packages.update(_REASON.findall(str(report.longrepr)))
    if seconds:
        times = ", ".join(f"{folder} {duration:.1f} s" for folder, duration in sorted(seconds.items()))
        terminalreporter.write_line(f"time spent in {times}")
    if packages:
        terminalreporter.write_line(f"some tests need more: apt install {' '.join(sorted(packages))}", yellow=True)
