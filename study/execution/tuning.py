"""Run a study with Ray Tune, as a searcher and a scheduler. No other module uses Tune.

One Tuner runs all phases, so actors keep their imports and their data from the first trial to the last. A resume builds
a new Tuner from the ledger instead of calling `Tuner.restore`, which forgets ASHA's rungs and unpickles whatever is on
disk.
"""

import shutil
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.tune.callback import Callback
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.schedulers.trial_scheduler import TrialScheduler
from ray.tune.search import Searcher

from study.estimates.resources import Resources
from study.execution.actor import work
from study.execution.worker import JobConfig, take_in
from study.persistence import ledger, storage
from study.persistence.nodes import needed
from study.persistence.unavailable import unavailable
from study.results import STUDY_FILE
from study.schedule.state import Job, StudyState
from trainables.place import Place

# A job fails after its process has died this often at the same epoch, for example out of memory. Deaths at different
# epochs are not limited, because preemptible nodes come and go.
MOST_DEATHS = 3
# A process that dies before it begins the job, as on a node that is going down, does not count, but it is not retried
# for ever either.
MOST_FALSE_STARTS = 10
_FOR_EVER = -1  # of Tune's retries


def run_on_ray(state: StudyState, place: Place, resources: Resources) -> None:
    """Run the study to its end on the connected Ray.

    Raises:
        Unavailable: something that every trial needs is gone. No trial is recorded as failed.
    """
    ray_folder = state.out / storage.RAY_FOLDER
    searcher = StudySearcher(state, place)
    tuner = tune.Tuner(
        tune.with_resources(work, _own_resources(resources)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=StudyScheduler(state, resources.concurrent),
            num_samples=-1,  # unlimited; the searcher ends the run
            max_concurrent_trials=resources.concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(ray_folder.resolve()),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=_FOR_EVER),
            callbacks=[DeathLimit(searcher), Silence()],
        ),
    )
    try:
        tuner.fit()
    except Exception as problem:  # Tune wraps what our searcher and scheduler raise
        raise unavailable(problem) or problem from None
    finally:
        shutil.rmtree(ray_folder, ignore_errors=True)


def _own_resources(resources: Resources) -> dict[str, float]:
    """Return the resources of a trial's own process.

    The workers of a data-parallel trial get all of its resources, and its own process gets none. Tune requires
    something, so it asks for one byte of memory.
    """
    return {"cpu": resources.cpus, "gpu": resources.gpus} if resources.workers == 1 else {"memory": 1}


class StudySearcher(Searcher):
    """Give Tune the study's jobs in order, and tell the study how each job ended."""

    def __init__(self, state: StudyState, place: Place) -> None:
        super().__init__()
        self.state, self.place = state, place
        self.jobs: dict[str, Job] = {}  # by Tune's own trial id
        uri, folder = storage.uri_of(state.out), state.out.resolve()
        self.out = uri or str(folder)
        self.driver = ray.get_runtime_context().get_node_id()
        self.needs = needed(place.data) + ([] if uri else [str(folder / STUDY_FILE)])

    def suggest(self, trial_id: str) -> Any:
        job = self.state.next_job()
        if job is None:
            return Searcher.FINISHED if self.state.phase == "done" else None
        self.jobs[trial_id] = job
        return JobConfig(
            task=job.task,
            trial=job.trial,
            out=self.out,
            place=self.place,
            driver=self.driver,
            needs=self.needs,
        )

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        died = f"its process died {MOST_DEATHS} times at the same epoch; see Ray's log for why" if error else ""
        self.state.ended(self.jobs.pop(trial_id), died)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the ledger has everything."""

    def restore(self, checkpoint_path: str) -> None:
        raise AssertionError("a study resumes from its ledger")

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles the searcher with its own state, which is never read


@dataclass
class Deaths:
    """The deaths of the processes of one job."""

    epochs: int = 0  # done at the last death
    there: int = 0  # deaths at this epoch
    attempts: int = 0  # begun before the last death
    false_starts: int = 0

    def count(self, epochs: int, attempts: int) -> bool:
        """Take in a death after `epochs` epochs. Return whether the job may be tried again after another one."""
        if attempts == self.attempts:
            self.false_starts += 1
        else:
            self.there = self.there + 1 if epochs == self.epochs else 1
            self.epochs, self.attempts, self.false_starts = epochs, attempts, 0
        return self.there < MOST_DEATHS - 1 and self.false_starts < MOST_FALSE_STARTS


class DeathLimit(Callback):
    """Stop retrying a job whose process keeps dying at the same epoch, or before it begins."""

    def __init__(self, searcher: StudySearcher) -> None:
        self.searcher = searcher
        self.deaths: dict[str, Deaths] = {}  # by Tune's id

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        deaths = self.deaths.setdefault(trial.trial_id, Deaths())
        may_die_again = deaths.count(self._epochs(trial), self._attempts(trial))
        # Tune compares this with the total number of failures.
        trial.max_failures = _FOR_EVER if may_die_again else trial.num_failures

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if trial.trial_id in self.deaths and self._epochs(trial) > self.deaths[trial.trial_id].epochs:
            trial.max_failures = _FOR_EVER

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.deaths.pop(trial.trial_id, None)

    def _epochs(self, trial: Any) -> int:
        job = self.searcher.jobs.get(trial.trial_id)
        return len(self.searcher.state.records[job.trial].rows) if job else 0

    def _attempts(self, trial: Any) -> int:
        job, out = self.searcher.jobs.get(trial.trial_id), self.searcher.state.out
        if job is None:
            return 0
        storage.pull(out, ledger.attempts_folder(job.trial))
        return ledger.count_attempts(out, job.trial)


class Silence(TrialProgressCallback):
    """Replace Tune's own progress callback, which prints some ended trials at every verbosity."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        pass

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        pass


class StudyScheduler(FIFOScheduler):
    """Ask the study whether a trial continues."""

    def __init__(self, state: StudyState, actors: int) -> None:
        super().__init__()
        self.state, self.actors = state, actors
        self.keeps_actors = False

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let Tune keep as many idle actors as trials may run at once.

        By default Tune ends an idle actor, with all its imports, if no trial is waiting at that moment. That happens
        at the end of every phase. There is no public setting.
        """
        super().on_trial_add(tune_controller, trial)
        if not self.keeps_actors:
            tune_controller._actor_cache.increase_max(trial.placement_group_factory, by=self.actors)
            self.keeps_actors = True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        go_on = take_in(self.state, trial.config["trial"], result)
        return TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Drop Tune's statistics of every metric, 37 KiB per trial, which it would keep to the end of the run."""
        super().on_trial_complete(tune_controller, trial, result)
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {}
