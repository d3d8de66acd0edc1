"""`./fleet` in a checkout of its own, with a Python that only remembers how it was called: no network, no waiting."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_TOOLS = [
    *("sh", "cat", "chmod", "cksum", "cmp", "cp", "dirname", "env", "find", "grep"),
    *("ln", "mkdir", "rm", "sed", "sleep", "sort", "touch"),
]

# Answers the questions that ./fleet asks Python, makes "environments" that hold itself, and writes down the rest.
_PYTHON = """#!/bin/sh
case "$*" in
*_base_executable*) [ ! -e "$FAKE/too-old" ] && echo "$FAKE/bin/python3" || exit 1 ;;
*"import pip._internal"*) [ -e "$(dirname "$0")/../pip" ] ;;
*"-m venv"*)
    echo "venv" >>"$FAKE/calls"
    for folder; do :; done
    mkdir -p "$folder/bin" && cp "$FAKE/bin/python3" "$folder/bin/python"
    case "$*" in
    *--without-pip*) ;;
    *) [ ! -e "$FAKE/no-ensurepip" ] && touch "$folder/pip" || exit 1 ;;
    esac
    ;;
*"-m pip"*)
    for last; do :; done
    echo "pip ${last##*/}" >>"$FAKE/calls"
    [ ! -e "$FAKE/no-network" ]
    ;;
-m*)
    echo "$$" >"$FAKE/pid"
    printf '%s|' "$PWD" "$@" >>"$FAKE/calls"
    echo >>"$FAKE/calls"
    ;;
esac
"""


@dataclass
class Checkout:
    """A folder with `./fleet` in it, and the fake's notes."""

    folder: Path
    fake: Path

    def run(self, *arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "fleet"), *arguments],
            cwd=cwd or self.folder,
            env={"PATH": str(self.fake / "bin"), "FAKE": str(self.fake), "HOME": str(self.fake), **environ},
            capture_output=True,
            text=True,
            timeout=30,
        )

    def calls(self) -> list[str]:
        """What Python was asked to do since the last look."""
        notes = self.fake / "calls"
        lines = notes.read_text().splitlines() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder, fake = tmp_path / "a path" / "check out", tmp_path / "fake"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "fleet", folder)
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "requirements.lock").write_text("a==1\n")
    (folder / "requirements-dev.lock").write_text("a==1\nb==1\n")
    (fake / "bin").mkdir(parents=True)
    for tool in _TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (fake / "bin" / tool).symlink_to(found)
    python = fake / "bin" / "python3"
    python.write_text(_PYTHON)
    python.chmod(0o755)
    return Checkout(folder, fake)


def test_the_first_start_sets_up_and_runs_the_verb_with_its_arguments(checkout: Checkout) -> None:
    done = checkout.run("demo", "--report", "my report.json")

    assert done.returncode == 0, done.stderr
    *setup, verb = checkout.calls()
    assert setup == ["venv", "pip requirements.lock", "pip check out"]
    assert verb == f"{checkout.folder}|-m|dermafleet|demo|--report|my report.json|"


def test_the_second_start_installs_nothing_and_says_nothing(checkout: Checkout) -> None:
    checkout.run("doctor")
    checkout.calls()

    done = checkout.run("doctor")

    assert checkout.calls() == [f"{checkout.folder}|-m|dermafleet|doctor|"]
    assert done.stderr == ""


def test_verbs_run_where_the_user_stands(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run("device", "list", cwd=tmp_path)

    assert checkout.calls()[-1] == f"{tmp_path}|-m|dermafleet|device|list|"


def test_the_process_becomes_the_verb_so_that_signals_reach_it(checkout: Checkout) -> None:
    checkout.run("doctor")

    environ = {"PATH": str(checkout.fake / "bin"), "FAKE": str(checkout.fake), "HOME": str(checkout.fake)}
    with subprocess.Popen([str(checkout.folder / "fleet"), "doctor"], env=environ) as started:
        started.wait(30)

    assert (checkout.fake / "pid").read_text() == f"{started.pid}\n"


def test_tests_use_the_development_packages_and_the_demo_is_content_with_them(checkout: Checkout) -> None:
    assert checkout.run("test", "-k", "some thing").returncode == 0
    *setup, verb = checkout.calls()
    assert setup == ["venv", "pip requirements-dev.lock", "pip check out"]
    assert verb == f"{checkout.folder}|-m|pytest|-k|some thing|"

    checkout.run("doctor")

    assert checkout.calls() == [f"{checkout.folder}|-m|dermafleet|doctor|"]


@pytest.mark.parametrize(("arguments", "processes"), [((), "-n|2|"), (("part",), "-n|2|"), (("part", "-x"), "")])
def test_whole_folders_are_tested_in_two_processes(
    checkout: Checkout, arguments: tuple[str, ...], processes: str
) -> None:
    (checkout.folder / "part").mkdir()
    checkout.run("test", *arguments)
    *_, verb = checkout.calls()
    assert verb.startswith(f"{checkout.folder}|-m|pytest|{processes}")
    assert ("-n|" in verb) == bool(processes)


def test_a_changed_lock_is_installed_again(checkout: Checkout) -> None:
    checkout.run("doctor")
    checkout.calls()
    (checkout.folder / "requirements.lock").write_text("a==2\n")

    checkout.run("doctor")

    assert checkout.calls()[0] == "pip requirements.lock"


def test_a_moved_checkout_links_itself_again_without_a_download(checkout: Checkout) -> None:
    checkout.run("doctor")
    checkout.calls()
    moved = checkout.folder.rename(checkout.folder.with_name("moved"))

    Checkout(moved, checkout.fake).run("doctor")

    assert checkout.calls() == ["pip moved", f"{moved}|-m|dermafleet|doctor|"]


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.run("doctor")
    checkout.calls()
    python = checkout.folder / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")

    done = checkout.run("doctor")

    assert checkout.calls()[:2] == ["venv", "pip requirements.lock"]
    assert "making .venv anew" in done.stderr


def test_a_half_made_environment_is_made_anew(checkout: Checkout) -> None:
    (checkout.folder / ".venv" / "lib").mkdir(parents=True)

    assert checkout.run("doctor").returncode == 0
    assert checkout.calls()[:2] == ["venv", "pip requirements.lock"]


def test_an_interrupted_installation_is_continued(checkout: Checkout) -> None:
    (checkout.fake / "no-network").touch()
    failed = checkout.run("doctor")
    assert failed.returncode == 1
    assert "could not install requirements.lock" in failed.stderr
    assert not (checkout.folder / ".venv.lock").exists()
    checkout.calls()

    (checkout.fake / "no-network").unlink()
    checkout.run("doctor")

    assert checkout.calls()[:2] == ["pip requirements.lock", "pip check out"]


def test_a_python_without_pip_is_named_with_its_remedy(checkout: Checkout) -> None:
    (checkout.fake / "no-ensurepip").touch()

    done = checkout.run("doctor")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("apt install python3-venv")
    assert not (checkout.folder / ".venv").exists()


def test_no_suitable_python_is_one_line_that_says_how_to_get_it(checkout: Checkout) -> None:
    (checkout.fake / "too-old").touch()

    done = checkout.run("demo")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.11" in done.stderr
    assert "apt install python3" in done.stderr


def test_a_lock_left_by_a_killed_start_does_not_block(checkout: Checkout) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (checkout.folder / ".venv.lock").mkdir()
    (checkout.folder / ".venv.lock" / "pid").write_text(f"{ended.pid}\n")

    assert checkout.run("doctor").returncode == 0


def test_settings_of_pip_and_python_that_would_misplace_code_are_ignored(checkout: Checkout) -> None:
    python = checkout.fake / "bin" / "python3"
    python.write_text(_PYTHON.replace('echo "$$"', 'echo "${PYTHONPATH-unset} ${PIP_TARGET-unset} $$"'))

    checkout.run("doctor", PYTHONPATH="/elsewhere", PIP_TARGET="/elsewhere", PIP_USER="1")

    assert (checkout.fake / "pid").read_text().startswith("unset unset ")


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"]])
def test_help_needs_no_python(checkout: Checkout, arguments: list[str]) -> None:
    (checkout.fake / "too-old").touch()

    done = checkout.run(*arguments)

    assert done.returncode == 0
    assert "./fleet demo|test|check" in done.stdout


@pytest.mark.parametrize("script", ["fleet", ".ci/run"])
def test_scripts_are_executable(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
