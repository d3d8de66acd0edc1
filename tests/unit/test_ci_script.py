"""`.ci/run` with a `./fleet` that only remembers: both verbs run, and the exit code is honest."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.missing import missing

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="CI runs on Debian, where bash is")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with `.ci/run`, no packages to install, and the stub; the names of failing verbs go to `failing`."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / ".ci" / "packages").write_text("")
    stub = tmp_path / "fleet"
    stub.write_text('#!/bin/sh\necho "$* CI=$CI" >>calls\necho "=== 1 $1 ==="\n! grep -q "$1" failing 2>/dev/null\n')
    stub.chmod(0o755)
    return tmp_path


def run(checkout: Path, failing: str) -> subprocess.CompletedProcess[str]:
    (checkout / "failing").write_text(failing)
    return subprocess.run([checkout / ".ci" / "run"], cwd="/", capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(("failing", "passes"), [("", True), ("check", False), ("test", False), ("check test", False)])
def test_ci_runs_checks_and_tests_and_fails_if_either_does(failing: str, passes: bool, checkout: Path) -> None:
    done = run(checkout, failing)

    assert (done.returncode == 0) == passes
    assert (checkout / "calls").read_text().splitlines() == ["check CI=true", "test CI=true"]


def test_the_last_line_is_the_summary_of_the_tests(checkout: Path) -> None:
    done = run(checkout, "check test")

    assert done.stdout.splitlines()[-1] == "=== 1 test ==="
    assert done.stderr == ""


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_test_without_its_debian_package_fails_in_ci_and_skips_elsewhere(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="Chromium is missing: needs Debian package chromium"):
        missing("Chromium", "chromium")
