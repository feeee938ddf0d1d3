"""The check of a GPU, small and on a CPU."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import __main__ as check
from tests.gpu.__main__ import PARTS, main, run_part, tables


def rows(out: Path, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{part}.jsonl").read_text().splitlines()]


@pytest.mark.long
@pytest.mark.usefixtures("restored_threads")
@pytest.mark.timeout(1800)  # two studies, and half a dozen processes that import torch
def test_every_part_runs_and_finds_what_a_cpu_promises(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path), "--device", "cpu", "--parts", "facts"]) == 0
    assert "| native bfloat16 |" in (tmp_path / "gpu.md").read_text()
    for part in PARTS:
        if part != "facts":
            run_part(part, "cpu", tmp_path)  # here, because a process of its own takes seconds to import torch
    verdicts = [value for row in rows(tmp_path, "exact") for value in row.values() if isinstance(value, bool)]
    assert len(verdicts) == 10
    assert all(verdicts)
    worked = {(row["work"], row["images/s"] > 0 < row["resident"]) for row in rows(tmp_path, "speed") if "work" in row}
    assert worked == {(work, True) for work in ("frozen, light", "last stage, stored", "all, light", "all, strong")}
    assert [row["processes"] for row in rows(tmp_path, "pack")] == [1, 2]
    assert [row["status"] for row in rows(tmp_path, "command_line")] == [0, 0]
    assert rows(tmp_path, "command_line")[1]["the same rows"]
    assert all(row["passed"] for row in rows(tmp_path, "suites"))


def test_a_part_that_fails_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "check", lambda name, device, out: "it broke" if name == "exact" else "")
    (tmp_path / "facts.jsonl").write_text('{"fact": "CPU cores", "is": 2}\n')
    assert main(["--out", str(tmp_path), "--device", "cpu", "--parts", "exact,facts"]) == 1
    text = (tmp_path / "gpu.md").read_text()
    assert "### exact, 0 s: it broke" in text
    assert "| CPU cores | 2 |" in text


def test_rows_with_other_columns_begin_another_table() -> None:
    shown = tables([{"a": True, "b": "x|y"}, {"a": False, "b": 1}, {"c": 2}])
    assert shown == "| a | b |\n| --- | --- |\n| yes | x/y |\n| no | 1 |\n\n| c |\n| --- |\n| 2 |"
