"""The type checker checks: a probe of mistakes with the project's own types, under the project's own rules."""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
MISTAKE = "# "  # behind each of the probe's mistakes: the rule that must find it
PROBE = """
from study.budget import Budget
from study.persistence.ledger import Record, Verdict
from study.schedule.level_settings import best_trial


def misspelt(record: Record) -> str | None:
    return record.staus  # reportAttributeAccessIssue


Budget(trials=1, epochs=1, trails=2)  # reportCallIssue
Verdict("search-0001", 1, 0.5)  # reportCallIssue
Budget(trials="many", epochs=1)  # reportArgumentType


def returned(records: list[Record]) -> Record:
    return best_trial(records)  # reportReturnType


width = 1 + "px"  # reportOperatorIssue
"""


def test_each_of_six_mistakes_is_found_on_its_line() -> None:
    expected = {
        (number, line.partition(MISTAKE)[2]) for number, line in enumerate(PROBE.splitlines()) if MISTAKE in line
    }
    assert len(expected) == 6
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]
    # Within the project, where the project's modules are found as from its own files.
    with tempfile.TemporaryDirectory(prefix="probe-", dir=ROOT / "tests") as folder:
        probe, config = Path(folder) / "probe.py", Path(folder) / "pyrightconfig.json"
        probe.write_text(PROBE)
        config.write_text(
            json.dumps(rules | {"include": [str(probe)], "venvPath": str(ROOT), "extraPaths": [str(ROOT)]})
        )
        command = [sys.executable, "-m", "pyright", "--outputjson", "--project", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert {(each["range"]["start"]["line"], each.get("rule")) for each in found} == expected
    assert {each["severity"] for each in found} == {"error"}


def test_the_rooms_and_the_tests_are_all_checked() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]
    written = {path.parent.name for path in ROOT.glob("[!.]*/__init__.py")}
    assert set(rules["include"]) >= written | {"tests"}
    assert not {"exclude", "ignore", "strict"} & rules.keys()
    assert rules["typeCheckingMode"] in ("standard", "strict")
    assert not [name for name in rules if name.startswith("report")], "a rule is silenced at its call, not here"
