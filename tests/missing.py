"""What a test does when the machine lacks a Debian package: skip visibly, or fail where it was promised (CI)."""

import os
from typing import NoReturn

import pytest


def missing(what: str, package: str) -> NoReturn:
    """End the running test because `what` is not on this machine; `package` is the Debian package that brings it.

    Skips with a reason that `./fleet test` collects into one line; fails with ``CI=true``, because `.ci/run` installs
    every package the tests need and a skipped test there would be a hole nobody sees.
    """
    reason = f"{what} is missing: needs Debian package {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
