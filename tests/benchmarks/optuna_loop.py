"""Optuna in one process: its TPE, its pruner, and the same plain PyTorch trial as the Ray Tune script's."""

from tests.benchmarks.plain_ray import epochs
from tests.benchmarks.task import Task, answer, read_task


def main(task: Task) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    done = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal done
        regularizer = trial.suggest_categorical("regularizer", ["none", "dropout", "l2"])
        config = {
            "regularizer": regularizer,
            "lr": trial.suggest_float("lr", *task.learning_rate, log=True),
            "dropout": trial.suggest_float("dropout", *task.dropout) if regularizer == "dropout" else 0.0,
            "l2": trial.suggest_float("l2", *task.l2, log=True) if regularizer == "l2" else 0.0,
            "unfreeze": trial.suggest_categorical("unfreeze", task.depths),
        }
        best = 0.0
        for epoch, accuracy in enumerate(epochs(config, task, threads=task.cores), start=1):
            done += 1
            best = max(best, accuracy)
            trial.report(accuracy, epoch)
            if task.asha and trial.should_prune():
                break
        return best

    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=task.reduction)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=task.seed), pruner=pruner)
    study.optimize(objective, n_trials=task.trials)
    answer(study.best_value, done)


if __name__ == "__main__":
    main(read_task()[0])
