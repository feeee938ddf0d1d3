"""The gates before a sweep: once for each backbone and start, where its trials will run, before study.json is begun."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from study.design.settings import Base, planned_configs
from study.estimates.resources import Resources
from study.setup.prepare import Prepared
from study.setup.study_json import SKIPPED
from study.spec import Study
from trainables.config import TrialConfig
from trainables.errors import InputError
from trainables.preflight import Findings, examine

_OTHERWISE = "mend that, or leave the gates out with --skip-preflight"


@dataclass(frozen=True)
class Net:
    """A backbone with its start, as one of its trials has it, and every unfreeze depth that the study gives it."""

    name: str
    config: TrialConfig
    depths: tuple[str, ...]


def preflight(
    prepared: Prepared, resources: Resources, wait_for_ray: Callable[[], None], skip: bool
) -> dict[str, Any] | str:
    """What study.json keeps of the gates: by net the probe's accuracy, chance, and what every gate said.

    Raises:
        InputError: a gate failed, or could not be tried.
    """
    if skip:
        return SKIPPED
    wait_for_ray()
    from study.execution.cluster import on_workers

    nets = nets_of(prepared.study, prepared.base)
    calls = [(net.config, net.depths, prepared.place, prepared.manifest) for net in nets]
    outcomes = on_workers(examine, calls, resources)
    found = {}
    for net in nets:
        try:
            findings = next(outcomes)
        except InputError:
            raise
        except Exception as problem:  # of Ray, of memory, of the net: its trials would meet the same
            said = f"{type(problem).__name__}: {problem}".partition("\n")[0]
            raise InputError(
                f"Preflight of {net.name}: it must come to its end, but did not ({said}); {_OTHERWISE}."
            ) from problem
        failed = next((gate for gate in findings.gates if not gate.passed), None)
        if failed is not None:
            raise InputError(f"Preflight of {net.name}, {failed.name}: {failed.said}; {_OTHERWISE}.")
        print(line(net.name, findings), file=sys.stderr)
        found[net.name] = recorded(findings)
    return found


def nets_of(study: Study, base: Base) -> list[Net]:
    """Every backbone with every start that the study gives it, at its largest size.

    A net is named after its backbone, one from random numbers beside a pretrained one "resnet18 none".
    """
    found: dict[tuple[str, str], list[TrialConfig]] = {}
    for config in planned_configs(study, base, "backbone", "weights", "unfreeze", "size"):
        found.setdefault((config.backbone, config.weights), []).append(config)
    return [
        Net(
            name=backbone if start == "pretrained" or (backbone, "pretrained") not in found else f"{backbone} {start}",
            config=max(configs, key=lambda config: config.size),
            depths=tuple(sorted({config.unfreeze for config in configs})),
        )
        for (backbone, start), configs in sorted(found.items())
    ]


def line(name: str, findings: Findings) -> str:
    """The progress of one net."""
    probe = findings.probe_accuracy
    seen = f", linear probe {probe:.0%}, chance {findings.chance:.0%}" if probe is not None else ""
    return f"preflight {name}: ok{seen}".replace("%", " %")


def recorded(findings: Findings) -> dict[str, Any]:
    return {
        "probe_accuracy": findings.probe_accuracy,
        "chance": findings.chance,
        "pictures": findings.pictures,
        "gates": [{"name": gate.name, "passed": gate.passed, "said": gate.said} for gate in findings.gates],
    }
