"""A study on three machines, from `ray up` to `ray down`, a worker and then the head killed: make cluster-test."""

from pathlib import Path

import pytest

from tests import machines, multi_node


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_study_loses_machines_and_nothing_else() -> None:
    if lacking := machines.missing():
        pytest.skip(f"it needs {lacking}")
    assert multi_node.main(["--lose", "head", "worker"]) == 0


def test_what_is_missing_is_said_in_one_line() -> None:
    assert "\n" not in machines.missing()


def test_commands_of_the_readme_are_the_ones_that_run(tmp_path: Path) -> None:
    commands = multi_node.commands(tmp_path)
    assert [" ".join(line.split()[:2]) for line in commands] == [
        "ray get-auth-token", "ray up", "ray exec", "ray exec", "ray exec", "ray rsync-down", "ray down",
    ]  # fmt: skip
    assert not any(word in line for line in commands for word in ("clusters/local.yaml", " /shared", "run dogs"))


def test_the_cluster_file_changes_in_its_addresses_and_sizes_only() -> None:
    before = (multi_node.ROOT / multi_node.CLUSTER_FILE).read_text()
    after = multi_node.edited(before, multi_node.EDITS)
    changed = [old for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]
    assert len(changed) == len(multi_node.EDITS)
