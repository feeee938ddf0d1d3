"""What a newcomer, a hosted runner and a container find: hooks, workflow, citation and image agree with the project."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def content(file: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / file).read_text())


def test_the_workflow_runs_make_test_on_both_versions_with_read_access_only() -> None:
    workflow = content(".github/workflows/test.yml")
    job = workflow["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in job
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in used), "actions are pinned by commit"


def test_the_hooks_run_the_pinned_versions() -> None:
    (repository,) = content(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    commands = [hook["entry"].split()[0] for hook in repository["hooks"]]
    assert commands == [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/pyright"]
    lint = (ROOT / "Makefile").read_text()
    assert all(f"$(BIN)/{Path(command).name}" in lint for command in commands)


def test_the_citation_names_this_project() -> None:
    citation = content("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_the_image_is_pinned_runs_as_a_user_and_copies_only_what_is_not_ignored() -> None:
    steps = [line.split() for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines() if line]
    by_kind = {kind: [step[1:] for step in steps if step[0] == kind] for kind in ("FROM", "USER", "COPY", "CMD")}
    assert re.fullmatch(r"python:3\.12\.\d+-slim-\w+", by_kind["FROM"][0][0])
    assert by_kind["USER"] == [["1000"]]
    assert "".join(by_kind["CMD"][-1]) == '["python","-m","study.run","digits"]'
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for step in by_kind["COPY"] for name in step[1:-1]}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
