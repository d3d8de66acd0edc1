"""The whole suite in two processes: what is kept together, and that xdist does as it is told."""

import os
import subprocess
import sys
from pathlib import Path

from tests.grouping import group_of

ROOT = Path(__file__).parents[2]
NOTE_PROCESS = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(4))
def test(number):
    with pathlib.Path("processes").open("a") as file:
        file.write(f"{os.getpid()}\\n")
"""


def test_files_stay_together_and_whole_systems_with_each_other() -> None:
    assert group_of("tests/unit/test_a.py::test_b[x::y]") == "tests/unit/test_a.py"
    assert group_of("tests/system/test_a.py::test_b") == group_of("tests/browser/test_c.py::test_d")
    assert group_of("tests/unit/diagnosis/test_a.py::test_b") == group_of("tests/unit/diagnosis/test_c.py::test_d")
    assert group_of("tests/model/test_a.py::test_b[0]") != group_of("tests/model/test_a.py::test_b[1]")


def test_whole_systems_run_in_one_of_two_processes(tmp_path: Path) -> None:
    for file in ("tests/system/test_a.py", "tests/browser/test_b.py", "tests/unit/test_c.py"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(NOTE_PROCESS if "unit" not in file else "def test(): pass\n")
    plugins = ["-p", "xdist.plugin", "-p", "tests.grouping"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadscope", *plugins, "--rootdir", ".", "tests"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    processes = (tmp_path / "processes").read_text().split()
    assert (len(processes), len(set(processes))) == (8, 1)
