"""The checks before the search: once for each backbone and start, on the machines that run its trials."""

import math
from dataclasses import dataclass

from study.design.settings import Base, planned_configs
from study.estimates.resources import Resources
from study.execution.machines import RunEach
from study.messages import log
from study.setup.prepare import Prepared
from study.spec import Study
from study.study_record import SKIPPED, PreflightRecord, PreflightRecords
from trainables.config import TrialConfig
from trainables.errors import InputError
from trainables.preflight import Findings, examine

_FIX = "fix that, or skip the checks with --skip-preflight"


@dataclass(frozen=True)
class ExaminedNet:
    """A backbone with its start, pretrained or from scratch."""

    name: str
    config: TrialConfig  # of one of its trials
    depths: tuple[str, ...]  # every unfreeze depth that the study gives it


def preflight(prepared: Prepared, resources: Resources, run_each: RunEach, skip: bool) -> PreflightRecords:
    """Run the checks on every net of the study, by `run_each` of its machines.

    Returns:
        The outcomes for study.json, by net.

    Raises:
        InputError: a check failed or did not finish.
    """
    if skip:
        return SKIPPED
    nets = nets_of(prepared.study, prepared.base)
    calls = [(net.config, net.depths, prepared.place, prepared.manifest) for net in nets]
    outcomes = run_each(examine, calls)
    records: dict[str, PreflightRecord] = {}
    for net in nets:
        try:
            findings = next(outcomes)
        except InputError:
            raise
        except Exception as problem:  # of Ray, memory or the net; its trials would fail too
            reason = f"{type(problem).__name__}: {problem}".partition("\n")[0]
            raise InputError(f"Preflight of {net.name} must finish, but failed ({reason}); {_FIX}.") from problem
        failed = next((gate for gate in findings.gates if not gate.passed), None)
        if failed is not None:
            raise InputError(f"Preflight of {net.name}, {failed.name}: {failed.said}; {_FIX}.")
        _check_memory(net.name, findings.gpu_share, resources.gpus / resources.workers)
        log.info(line(net.name, findings))
        records[net.name] = record(findings)
    return records


def _check_memory(name: str, needed: float | None, gpus: float) -> None:
    """Check that the part of a GPU that a trial has is enough.

    Raises:
        InputError: it has less.
    """
    if needed is not None and needed > gpus:
        enough = math.ceil(100 * needed) / 100
        raise InputError(
            f"A trial of {name} needs {needed:.0%} of a GPU, but --gpus-per-trial {gpus:g} gives it {gpus:.0%}: "
            f"pass {enough:g} or more, or declare a smaller batch_size or micro_batch."
        )


def nets_of(study: Study, base: Base) -> list[ExaminedNet]:
    """Return every backbone with every start that the study gives it, at its largest size.

    A net has the name of its backbone. If a study trains a backbone both from pretrained weights and from scratch, the
    latter is called, for example, "resnet18 none".
    """
    by_net: dict[tuple[str, str], list[TrialConfig]] = {}
    for config in planned_configs(study, base, "backbone", "weights", "unfreeze", "size"):
        by_net.setdefault((config.backbone, config.weights), []).append(config)
    return [
        ExaminedNet(
            name=backbone if start == "pretrained" or (backbone, "pretrained") not in by_net else f"{backbone} {start}",
            config=max(configs, key=lambda config: config.size),
            depths=tuple(sorted({config.unfreeze for config in configs})),
        )
        for (backbone, start), configs in sorted(by_net.items())
    ]


def line(name: str, findings: Findings) -> str:
    """Return a line about the outcome for one net."""
    probe = findings.probe_accuracy
    accuracies = f", linear probe {probe:.0%}, most frequent class {findings.chance:.0%}" if probe is not None else ""
    memory = "" if findings.gpu_share is None else f", a trial needs {findings.gpu_share:.0%} of a GPU's memory"
    return f"preflight {name}: ok{accuracies}{memory}"


def record(findings: Findings) -> PreflightRecord:
    """Return the outcome for one net in the format of study.json."""
    return {
        "probe_accuracy": findings.probe_accuracy,
        "chance": findings.chance,
        "pictures": findings.images,
        "gates": [{"name": gate.name, "passed": gate.passed, "said": gate.said} for gate in findings.gates],
    }
