"""Who takes part in the race, and how each is called."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tests.benchmarks.task import Task


@dataclass(frozen=True)
class Contestant:
    """`command` makes what is timed; `prepare` lays out files before, and is not."""

    command: Callable[[Task, Path], list[str]]
    read: Callable[[str, Path], dict[str, float]] = lambda output, _: json.loads(output.strip().splitlines()[-1])
    prepare: Callable[[Task, Path], None] = lambda task, folder: None
    does: Callable[[Task], bool] = lambda task: True


def of_ours(module: str, *options: str, does: Callable[[Task], bool] = lambda task: True) -> Contestant:
    """A module beside this one, in this environment."""
    start = [sys.executable, "-m", f"tests.benchmarks.{module}"]
    return Contestant(lambda _, folder: [*start, str(folder / "task.json"), *options], does=does)


def heads_only(task: Task) -> bool:
    return task.depths == ("head",)


def lay_out_for_cvic(task: Task, folder: Path) -> None:
    """train/ and val/ as it wants them, the weights where timm's hub keeps them, and the space as its YAML."""
    import timm
    from safetensors.torch import save_file

    from trainables.nets.weights import find, read

    for fold, files in (("train", task.train), ("val", task.val)):
        for path, _ in files:
            source = Path(path)
            (folder / fold / source.parent.name).mkdir(parents=True, exist_ok=True)
            (folder / fold / source.parent.name / source.name).symlink_to(source.resolve())
    model = timm.create_model(task.backbone)
    state = read(find(task.backbone), list(model.state_dict()))
    pretrained = cast(Mapping[str, object], model.pretrained_cfg)
    hub = folder / ".cache/huggingface/hub" / f"models--{str(pretrained['hf_hub_id']).replace('/', '--')}"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs/main").write_text("0")
    (hub / "snapshots/0").mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, hub / "snapshots/0/model.safetensors")
    low, high = task.learning_rate
    fixed = {"ra_mag_min": 0, "ra_mag_max": 0, "mixup_max": 0.0, "cutmix_max": 0.0, "ls_max": 0.0}
    space = fixed | {"lr_min": low, "lr_max": high, "optimizers": ["AdamW"]}
    (folder / "space.yaml").write_text(json.dumps(space))


def call_cvic(task: Task, folder: Path) -> list[str]:
    """Its search with a train and a validation folder (tunic); a frozen backbone for all of the epochs."""
    return [
        os.environ["CVIC_PYTHON"], "-m", "cvic.tunic", "--data", str(folder), "--model", task.backbone, "--cpu",
        "--n-trials", str(task.trials), "--epochs", str(task.epochs), "--batch-size", str(task.batch_size),
        "--workers", "1", "--img-size", str(task.size), "--freeze-backbone", str(task.epochs), "--no-final",
        "--scheduler", "asha" if task.asha else "none", "--seed", str(task.seed), "--tune-metric", "val_acc",
        "--search-space", str(folder / "space.yaml"), "--prefix", str(folder / "cvic"),
    ]  # fmt: skip


def read_cvic(output: str, folder: Path) -> dict[str, float]:
    found = json.loads((folder / "cvic.json").read_text())
    return {"best": found["best_val_acc"], "trial_epochs": float("nan")}


def call_syne_tune(_: Task, folder: Path) -> list[str]:
    script = Path(__file__).with_name("syne_tune_search.py")
    return [os.environ["SYNE_TUNE_PYTHON"], str(script), str(folder / "task.json")]


# Where an environment of its own is needed, this variable names its Python.
NEEDS = {"cvic": "CVIC_PYTHON", "syne-tune": "SYNE_TUNE_PYTHON"}
CONTESTANTS = {
    "ours": of_ours("ours"),
    "ours-unshared": of_ours("ours", "no-sharing"),
    "plain-ray": of_ours("plain_ray"),
    "plain-ray-reuse": of_ours("plain_ray", "reuse"),
    "optuna": of_ours("optuna_loop"),
    "sklearn": of_ours("sklearn_features", does=heads_only),
    "syne-tune": Contestant(call_syne_tune),
    "cvic": Contestant(call_cvic, read_cvic, lay_out_for_cvic, does=heads_only),
}
