"""What is delivered: the wheel, the agent's small footprint, and the lock files."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-node.lock"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, as a release would build it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def absent_from(wheel: Path) -> list[str]:
    """What a release needs and this wheel lacks."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    needed = {
        "migrations": r"dermafleet/storage/migrations/(env\.py|versions/0001_\w+\.py)",
        "migration template": r"dermafleet/storage/migrations/script\.py\.mako",
        "licence": r"dermafleet-[^/]+\.dist-info/licenses/LICENSE",
        "notice": r"dermafleet-[^/]+\.dist-info/licenses/NOTICE",
        "dashboard": r"services/api/static/index\.html",
        "dashboard's scripts": r"services/api/static/.+\.js",
        "vocabulary": r"dermafleet/contracts/vocabulary/v1\.toml",
        "replay mappings": r"device_agent/mappings/.+\.toml",
    }
    return [what for what, pattern in needed.items() if not any(re.fullmatch(pattern, name) for name in names)]


def test_the_wheel_has_everything_a_release_needs(wheel: Path) -> None:
    assert absent_from(wheel) == [], "build the dashboard first: ./fleet setup"


def test_a_wheel_without_the_dashboard_is_noticed(wheel: Path, tmp_path: Path) -> None:
    poorer = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as full, zipfile.ZipFile(poorer, "w") as archive:
        for name in full.namelist():
            if not name.startswith("services/api/static/"):
                archive.writestr(name, full.read(name))

    assert {"dashboard", "dashboard's scripts"} <= set(absent_from(poorer))


def test_the_wheel_holds_the_product_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folders = {name.split("/")[0] for name in archive.namelist()}

    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {
        "dermafleet",
        "services",
        "device_agent",
    }


def test_the_base_install_is_the_agent() -> None:
    base = [each for each in metadata.requires("dermafleet") or [] if "extra ==" not in each]

    assert [re.split(r"[^\w-]", each)[0] for each in base] == ["msgspec", "paho-mqtt"]


def import_alone(package: str, allowed: tuple[str, ...], *, but: str = "-") -> str:
    """Import every module of a package, except those below `but`, where nothing but `allowed` is installed.

    Returns the error, or nothing.
    """
    program = f"""
import importlib, importlib.abc, pkgutil, sys
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | set({allowed!r}):
            raise ModuleNotFoundError(f"not in the base install: {{name}}", name=name)
sys.meta_path.insert(0, Wall())
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, {package + "."!r}):
    if not module.name.startswith({but!r}) and not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False).stderr


def test_the_agent_needs_msgspec_and_paho_only() -> None:
    allowed = ("dermafleet", "device_agent", "msgspec", "paho")
    assert import_alone("device_agent", allowed, but="device_agent.simulator") == ""


def test_the_contracts_need_msgspec_only() -> None:
    assert import_alone("dermafleet.contracts", ("dermafleet", "msgspec")) == ""


def pins(lock: str) -> dict[str, str]:
    """Package, with its marker, to version and hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text())
    found = {}
    for entry in entries:
        if match := re.match(r"([\w.-]+)==(\S+)([^\\]*)", entry):
            found[f"{match[1]}{match[3].strip()}"] = " ".join([match[2], *sorted(re.findall(r"sha256:\w{64}", entry))])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_with_hashes_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert "://" not in text
    assert "--index-url" not in text
    assert pins(lock)
    assert [name for name, pin in pins(lock).items() if "sha256:" not in pin] == []


def test_the_development_lock_holds_all_of_the_other_one() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    build = project["dependency-groups"]["build"]
    wanted = {
        "requirements.lock": project["project"]["dependencies"] + extras["server"] + extras["embedded"] + build,
        "requirements-dev.lock": extras["dev"] + build,
        "requirements-node.lock": project["dependency-groups"]["node"],
    }
    unmet = [f"{lock}: {line}" for lock, lines in wanted.items() for line in lines if not _is_met(line, pins(lock))]
    assert unmet == [], "run ./fleet lock"


def _is_met(requirement: str, pinned: dict[str, str]) -> bool:
    """Whether a line such as ``name[extra]==1.2.*; marker`` is met; `dermafleet` is this project."""
    match = re.match(r"([\w-]+)(?:\[[^\]]*\])?(?:==([\d.]+)\*)?", requirement)
    assert match, requirement
    if match[1] == "dermafleet":
        return True
    versions = [pin for name, pin in pinned.items() if re.split("[; ]", name)[0] == match[1]]
    return bool(versions) and all(f"{pin.split()[0]}.".startswith(match[2] or "") for pin in versions)


def test_ci_installs_every_debian_package_that_a_test_may_miss() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    named = set(re.findall(r"\bmissing\([^()]*,\s*\"([a-z0-9.+-]+)\"\)", sources))
    installed = set((ROOT / ".ci" / "packages").read_text().split())

    assert {re.sub(r"^(postgresql)-\d+$", r"\1", name) for name in named} <= installed
