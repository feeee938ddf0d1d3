"""The tests of trials, sharing, cuts, optimizers and teams, with their trials on the device."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.gpu.nets import Scale
from tests.images import DEVICE_VARIABLE

_FILES = ("trial", "sharing", "prefixes", "optimizers", "training", "team", "masks")


def rows(scale: Scale, folder: Path) -> Iterator[dict[str, Any]]:
    for name in _FILES if scale.device == "cuda" else _FILES[-1:]:
        command = [sys.executable, "-m", "pytest", "--numprocesses", "0", f"tests/test_{name}.py"]
        environment = os.environ | {DEVICE_VARIABLE: scale.device}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        yield {"tests": name, "passed": done.returncode == 0, "failed": "; ".join(failed)[:2000]}
