"""How the time of a search grows with its trials, its images and its classes: three sizes of each.

python -m tests.benchmarks.growth --data images
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

from tests.benchmarks.contestants import CONTESTANTS
from tests.benchmarks.race import make_task, run

WORK = "head-64"
TRIALS = (16, 64, 256)
SHARES = (0.25, 0.5, 1.0)  # of the images of every class, and of the classes


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="images, one folder a class")
    parser.add_argument("--trials", default=",".join(map(str, TRIALS)), help="three numbers of trials")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    chosen = parser.parse_args(arguments)
    sizes = [int(trials) for trials in chosen.trials.split(",")]
    cases = [("trials", trials, 1.0, 1.0) for trials in sizes]
    cases += [("pictures", sizes[1], share, 1.0) for share in SHARES]
    cases += [("classes", sizes[1], 1.0, share) for share in SHARES]
    rows = []
    for grows, trials, of_pictures, of_classes in cases:
        with tempfile.TemporaryDirectory(prefix="growth") as folder:
            data = part_of(chosen.data.resolve(), Path(folder) / "data", of_pictures, of_classes)
            task = make_task(
                WORK, 0, argparse.Namespace(**vars(chosen) | {"data": data, "trials": trials}), Path(folder) / "out"
            )
            found = run(CONTESTANTS["ours"], task, Path(folder))
        size = {"trials": trials, "pictures": len(task.train) + len(task.val), "classes": task.classes}
        rows.append({"grows": grows} | size | {"wall s": found["wall"], "cpu s": found["cpu"]})
        print(pd.DataFrame(rows[-1:]).to_string(index=False, float_format="%.3g"), file=sys.stderr, flush=True)
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.3g"))


def part_of(data: Path, folder: Path, of_pictures: float, of_classes: float) -> Path:
    """Copies of the first images of the first classes."""
    classes = sorted(path for path in data.iterdir() if path.is_dir())
    for each in classes[: max(2, round(len(classes) * of_classes))]:
        (folder / each.name).mkdir(parents=True)
        files = sorted(each.iterdir())
        for file in files[: max(8, round(len(files) * of_pictures))]:
            shutil.copyfile(file, folder / each.name / file.name)
    return folder


if __name__ == "__main__":
    main(sys.argv[1:])
