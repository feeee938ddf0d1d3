"""The cluster files: valid for Ray itself, and right where Ray does not look."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RAY = re.search(r"^ray(?:\[.*\])?==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
LAUNCHED = ["cluster.yaml", "clusters/local.yaml"]


def content(file: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / file).read_text())


@pytest.mark.parametrize("file", LAUNCHED)
def test_ray_accepts_it(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(content(file)))


@pytest.mark.parametrize("file", LAUNCHED)
def test_nodes_get_this_project_and_its_exact_versions(file: str) -> None:
    config = content(file)
    mounted = {there for there in config["file_mounts"] if there.startswith("~/study/")}
    packages = {name.partition(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert {f"~/study/{name}" for name in (*packages, "requirements.txt", "pyproject.toml", "Makefile")} <= mounted
    for needed in (PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]):
        assert f"~/study/{needed}" in mounted
    assert any("make setup" in command for command in config["setup_commands"])
    # `ray up`, its autoscaler and jobs need more than a study on one machine.
    assert any(each.startswith("ray[default,") for each in PROJECT["project"]["dependencies"])
    started = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert all("~/study/.venv/bin/ray" in command for command in started)


@pytest.mark.parametrize("file", LAUNCHED)
def test_the_head_scales_and_shows_its_dashboard_to_nobody(file: str) -> None:
    start = content(file)["head_start_ray_commands"][-1]
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    assert "--dashboard-host=127.0.0.1" in start


@pytest.mark.parametrize("file", LAUNCHED)
def test_authentication_is_by_token_and_the_token_is_the_users_alone(file: str) -> None:
    config = content(file)
    for command in config["head_start_ray_commands"][1:] + config["worker_start_ray_commands"][1:]:
        assert "RAY_AUTH_MODE=token" in command
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert any("chmod 600 ~/.ray/auth_token" in command for command in config["setup_commands"])


@pytest.mark.parametrize("file", [*LAUNCHED, "clusters/kuberay.yaml"])
def test_no_secret_is_written_down(file: str) -> None:
    text = (ROOT / file).read_text()
    assert not re.search(r"AKIA|aws_secret|password|BEGIN [A-Z ]*PRIVATE KEY|[0-9a-f]{40}", text, re.IGNORECASE)


def test_on_aws_no_trial_runs_on_the_head_and_spot_comes_first() -> None:
    types = content("cluster.yaml")["available_node_types"]
    assert types["head"]["resources"]["CPU"] == 0
    assert types["gpu_spot"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in types["gpu_on_demand"]["node_config"]
    assert types["gpu_spot"]["priority"] > types["gpu_on_demand"]["priority"]
    assert content("cluster.yaml")["provider"]["cache_stopped_nodes"] is False
    assert sum(each.get("min_workers", 0) for each in types.values()) == 0


def test_kubernetes_runs_the_pinned_ray_with_a_token_and_gives_its_gpus_back() -> None:
    job = content("clusters/kuberay.yaml")["spec"]
    cluster = job["rayClusterSpec"]
    assert RAY is not None
    assert cluster["rayVersion"] == RAY[1]
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "dashboard-host": "127.0.0.1"}
    assert job["shutdownAfterJobFinishes"] is True
    assert "--resume" in job["entrypoint"]
    for group in cluster["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]


@pytest.mark.parametrize("file", LAUNCHED)
def test_what_is_copied_exists_and_is_small(file: str) -> None:
    """Ray reads every mounted file, excluded or not, at each `ray up`, so that .venv or data would take minutes."""
    for there, here in content(file)["file_mounts"].items():
        assert here.startswith("~") or (ROOT / here).exists(), here
        assert not (ROOT / here / ".venv").exists(), f"{there} is the whole folder"


@pytest.mark.parametrize("file", LAUNCHED)
def test_nothing_is_written_that_ray_drops_without_a_word(file: str) -> None:
    """Of clouds, the least number of workers counts with a node type only; a type's own commands do not exist."""
    config = content(file)
    if config["provider"]["type"] != "local":
        assert "min_workers" not in config
        assert all(each["resources"] for each in config["available_node_types"].values())  # else Ray asks the cloud


def test_all_own_machines_are_used() -> None:
    config = content("clusters/local.yaml")
    assert config["min_workers"] == config["max_workers"] == len(config["provider"]["worker_ips"])
