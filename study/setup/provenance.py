"""The versions, revision and hardware that study.json records."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from study.study_record import HardwareRecord

_PACKAGES = ("ray", "torch", "torchvision", "timm", "optuna", "pandas", "numpy", "pillow", "scikit-learn")


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def revision() -> str:
    """Return the commit of this code, with a plus if files are modified; empty outside a Git checkout."""
    root = Path(__file__).parent.parent.parent
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def hardware() -> HardwareRecord:
    import torch

    from trainables.nets.arithmetic import is_cuda_usable

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if is_cuda_usable() else []
    return {"cpus": os.cpu_count(), "cpu": _cpu_name(), "gpus": gpus, "system": platform.platform()}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
