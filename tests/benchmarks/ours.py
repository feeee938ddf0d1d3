"""This project, as far as its search: what the peers do, too. Refining, confirming and testing are left out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.task import Task, answer, read_task


def main(task: Task, options: list[str]) -> None:
    from study.estimates.resources import plan_resources
    from study.execution.cluster import starting

    with starting(warm=True) as wait_for_ray:
        search(task, options, plan_resources(1, 0, None, task.cores, 0), wait_for_ray)


def search(task: Task, options: list[str], resources: Any, wait_for_ray: Callable[[], None]) -> None:
    from search_spaces import optimizers
    from search_spaces.distributions import Range
    from study.arguments import parse
    from study.design.load import Loaded
    from study.schedule import state as courses
    from study.setup.prepare import prepare_study
    from study.setup.study_json import begin_study
    from study.spec import Budget, Study

    strengths = {
        name: Range(low=low, high=high, log=name == "l2", when={"regularizer": name})
        for name, (low, high) in {"dropout": task.dropout, "l2": task.l2}.items()
    }
    names = list(task.depths)
    depths = {"unfreeze": names} if len(names) > 1 else {}
    study = Study(
        control=False,
        dataset="folder",
        question="How fast is the search?",
        factors={"regularizer": ["none", "dropout", "l2"], **depths},
        nuisances=optimizers.adaptive(*task.learning_rate) | strengths,
        fixed={
            "backbone": task.backbone,
            "size": task.size,
            "batch_size": task.batch_size,
            "augmentation": "light",
            "split": "70-15-15",
        }
        | ({} if depths else {"unfreeze": names[0]})
        | ({"views": task.views} if task.views else {}),
        budget=Budget(
            trials=task.trials,
            epochs=task.epochs,
            grace=1 if task.asha else task.epochs,
            reduction=task.reduction,
        ),
    )
    out = Path(task.out)
    cache = str(out.parent / "cache")
    flags = ["race", "--data", task.data, "--out", task.out, "--cache", cache, "--seed", str(task.seed)]
    chosen = parse([*flags, "--no-sharing"] if "no-sharing" in options else flags)
    prepared = prepare_study(Loaded("race", study), chosen, resources, out)
    begin_study(prepared, resources, "race", None)
    wait_for_ray()
    from study.execution.tuning import run_on_ray

    course = courses.StudyState(out, prepared.study, prepared.base, None, lambda *_: None, steps=("search", "done"))
    run_on_ray(course, prepared.place, resources)
    best = max(record.best["val_accuracy"] for record in course.records.values() if record.best)
    answer(best, sum(len(record.rows) for record in course.records.values()))


if __name__ == "__main__":
    main(*read_task())
