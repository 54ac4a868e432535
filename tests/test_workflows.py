"""The workflows ask of a change what `.ci/run` asks, on the Pythons that the package names, in shell that is shell."""

import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
JOBS = [(file, name) for file, workflow in WORKFLOWS.items() for name in workflow["jobs"]]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HOOKS = [
    hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"] for hook in repo["hooks"]
]


def targets(shell: str) -> set[str]:
    """The targets of make that a script names: the words after `make` that are neither options nor variables."""
    return set(re.findall(r"(?:^|\"| )make ([a-z][a-z-]*)", shell, re.MULTILINE))


def filled(shell: str, row: dict[str, str]) -> str:
    """The script of one job of a matrix."""
    return re.sub(r"\$\{\{ *matrix\.(\w+) *\}\}", lambda found: row[found[1]], shell)


def scripts(job: dict) -> list[str]:
    """The shell of a job, once for each row of its matrix."""
    matrix = job.get("strategy", {}).get("matrix", {})
    rows = [dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())]
    return [filled("\n".join(step["run"] for step in job["steps"] if "run" in step), row) for row in rows]


def all_targets(file: str) -> set[str]:
    return {target for job in WORKFLOWS[file]["jobs"].values() for shell in scripts(job) for target in targets(shell)}


def test_ci_makes_what_the_script_makes():
    assert all_targets("ci.yml") == targets((ROOT / ".ci" / "run").read_text())


@pytest.mark.parametrize("file", WORKFLOWS)
def test_every_target_is_one_of_the_makefile(file):
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert all_targets(file)
    assert all_targets(file) <= known


def test_the_pythons_are_those_of_the_package():
    tested = WORKFLOWS["ci.yml"]["jobs"]["ci"]["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: "
    assert tested == [name.removeprefix(prefix) for name in PROJECT["classifiers"] if name.startswith(prefix)]
    assert PROJECT["requires-python"] == f">={tested[0]}"


@pytest.mark.parametrize(("file", "name"), JOBS)
def test_a_job_has_a_limit_reads_only_and_takes_actions_of_one_major_version(file, name):
    job = WORKFLOWS[file]["jobs"][name]
    assert job["timeout-minutes"] <= 360
    assert WORKFLOWS[file]["permissions"] == {"contents": "read"}
    assert "permissions" not in job
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in used)


@pytest.mark.parametrize(("file", "name"), JOBS)
def test_the_shell_of_a_job_is_shell(file, name):
    for shell in scripts(WORKFLOWS[file]["jobs"][name]):
        assert "${{" not in shell  # A value that GitHub pastes into a script may be anybody's.
        read = subprocess.run(["bash", "-n"], input=shell, text=True, capture_output=True)
        assert read.returncode == 0, read.stderr


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_fetches_nothing_and_its_tool_is_in_the_environment(hook):
    assert hook["language"] in {"system", "pygrep"}
    tool = hook["entry"].split()[0]
    assert not tool.startswith(".venv/") or (Path(sys.executable).parent / Path(tool).name).exists()
