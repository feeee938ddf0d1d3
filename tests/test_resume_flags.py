"""--resume: what may be left out, what may grow, what is refused."""

import hashlib
import json
from pathlib import Path

import pytest

from study.arguments import parse
from study.design.load import load
from study.estimates.resolution import resolvable_effect
from study.estimates.resources import Resources, plan_resources
from study.persistence import ledger
from study.persistence.lock import sole_driver
from study.persistence.output_dir import check_out
from study.results import FIRST_PLAN
from study.setup import provenance
from study.setup.prepare import Prepared
from study.setup.resume import as_before, resume_study
from study.setup.study_json import StudyJson, begin_study
from tests.tiny import MACHINE, STUDY_FILE, Fails, Prepare, make_pictures, write_study
from trainables.errors import InputError


def test_resume_goes_on_where_there_is_a_study_and_starts_where_there_is_none(ready: Prepare, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert check_out(out, parse(["tiny.py", "--resume"]).resume) is False
    prepared, resources = ready("--cpus-per-trial", 2)
    begin_study(prepared, resources, "python -m study.run", None)
    assert check_out(out, resume=True) is True
    with pytest.raises(InputError, match="--resume"):
        check_out(out, resume=False)


def test_a_study_killed_while_it_began_begins_anew(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready()
    begin_study(prepared, resources, "python -m study.run", None)
    (tmp_path / "out" / "study.json").unlink()
    (tmp_path / "out" / ".study.json.9.part").write_text("{")
    assert check_out(tmp_path / "out", resume=True) is False
    begin_study(prepared, resources, "python -m study.run", None)
    assert len(ledger.read_plan(tmp_path / "out")) == 16


def resumed(ready: Prepare, tmp_path: Path, *flags: object) -> tuple[Prepared, StudyJson, Resources]:
    study = (
        str(tmp_path / "tiny.py") if (tmp_path / "tiny.py").exists() else str(ready()[0].place.data.parent / "tiny.py")
    )
    chosen = as_before(parse([study, "--resume", *map(str, flags)]), tmp_path / "out")
    resources = plan_resources(chosen.cpus_per_trial, chosen.gpus_per_trial, chosen.concurrent, *MACHINE)
    return *resume_study(load(study), chosen, resources, tmp_path / "out"), resources


def test_flags_left_out_on_a_resume_are_as_they_were(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready("--cpus-per-trial", 2, "--seed", 5, "--hours", 5)
    begin_study(prepared, resources, "python -m study.run", 5.0)
    again, _, same = resumed(ready, tmp_path)
    assert again.base == prepared.base
    assert again.study == prepared.study
    assert again.place.data == prepared.place.data
    assert same == resources
    assert resumed(ready, tmp_path, "--seed", 5, "--hours", 5)[0].base == prepared.base


@pytest.mark.parametrize(
    ("old", "new", "flags"),
    [
        ('"unfreeze": "all", ', "", ["--weights", "none"]),
        ('"size": 16', '"size": 16, "warmup_epochs": 2, "patience": 3', ["--epochs", 2]),
        ("", "", ["--refine", 1, "--test-folds", 3]),
        ("    control=", "    published=[ROW],\n    control=", ["--published", "--epochs", 1, "--weights", "none"]),
    ],
)
def test_what_the_flags_made_of_a_study_goes_on(
    old: str, new: str, flags: list[object], ready: Prepare, tmp_path: Path
) -> None:
    row = 'Published(name="r", config={"epochs": 3, "frozen_epochs": 1}, metric="accuracy", fold="test", value=0.5)'
    text = STUDY_FILE.replace("import Budget, Study", "import Budget, Published, Study").replace(old, new)
    study = write_study(tmp_path, text.replace("STUDY = ", f"ROW = {row}\nSTUDY = "))
    prepared, resources = ready(*flags, study=study)
    begin_study(prepared, resources, "python -m study.run", None)
    again = resumed(ready, tmp_path)[0]
    assert (again.study, again.base) == (prepared.study, prepared.base)


def test_trials_and_seeds_may_grow_and_the_study_says_so(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready()
    begin_study(prepared, resources, "python -m study.run", None)
    first = ledger.read_plan(tmp_path / "out")
    again, identity, _ = resumed(ready, tmp_path, "--trials", 20, "--seeds", 4)
    plan = ledger.read_plan(tmp_path / "out")
    assert (len(plan), plan[:16]) == (20, first)
    assert (again.study.budget.trials, again.study.budget.seeds) == (20, 4)
    assert identity.deviations == [
        "trials extended from 16 to 20 after the first plan",
        "seeds extended from 3 to 4 after the first plan",
    ]
    on_disk = json.loads((tmp_path / "out" / "study.json").read_text())
    assert (on_disk["budget"], on_disk["deviations"]) == (identity.budget, identity.deviations)
    # Killed after study.json and before the plan: the next resume makes up for it.
    (tmp_path / "out" / "ledger" / "plan" / "001.json").unlink()
    resumed(ready, tmp_path)
    assert ledger.read_plan(tmp_path / "out") == plan


def test_more_trials_than_the_hours_allowed_lift_the_limit(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready("--hours", 5)
    begin_study(prepared, resources, "python -m study.run", 5.0)
    assert resumed(ready, tmp_path)[1].hours == 5.0
    _, identity, _ = resumed(ready, tmp_path, "--seeds", prepared.study.budget.seeds + 1)
    assert identity.hours is None
    assert identity.deviations[-1] == "the limit of 5 hours no longer holds, because the study was extended"


def test_a_price_may_change_and_stays_where_it_is_left_out(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready("--price", 2.5)
    begin_study(prepared, resources, "python -m study.run", None, price=2.5, nodes=2)
    assert resumed(ready, tmp_path)[1].price == 2.5
    assert resumed(ready, tmp_path, "--price", 0)[1].price == 0
    on_disk = json.loads((tmp_path / "out" / "study.json").read_text())
    assert (on_disk["price"], on_disk["nodes"]) == (0, 2)


def test_seeds_in_doubt_may_grow_alone_and_an_earlier_version_added_none(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready("--seeds", 5)
    begun = begin_study(prepared, resources, "python -m study.run", None)
    assert begun.budget["most_seeds"] == 15
    file = tmp_path / "out" / "study.json"
    written = json.loads(file.read_text())
    for budget in (written["budget"], written["declared_budget"]):
        del budget["most_seeds"]
    file.write_text(json.dumps(written))
    assert resumed(ready, tmp_path)[0].study.budget.seeds_at_most == 5
    again, identity, _ = resumed(ready, tmp_path, "--most-seeds", 8)
    assert (again.study.budget.seeds, again.study.budget.seeds_at_most, identity.budget["most_seeds"]) == (5, 8, 8)
    assert identity.deviations == ["most seeds of a setting extended from 5 to 8 after the first plan"]
    assert resumed(ready, tmp_path)[0].study.budget.seeds_at_most == 8
    assert resumed(ready, tmp_path, "--seeds", 9)[0].study.budget.seeds_at_most == 9


def test_what_a_study_goes_on_with_is_a_deviation_where_it_is_another(
    ready: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, resources = ready()
    begun = begin_study(prepared, resources, "python -m study.run", None)
    assert resumed(ready, tmp_path)[1].deviations == []
    began = provenance.hardware()
    monkeypatch.setattr(provenance, "versions", lambda: begun.versions | {"torch": "99.0"})
    monkeypatch.setattr(provenance, "hardware", lambda: began | {"cpus": 1024, "system": "another kernel"})
    resumed(ready, tmp_path)
    deviations = resumed(ready, tmp_path)[1].deviations
    assert deviations == [
        f"continued with torch 99.0, begun with {begun.versions['torch']}",
        f"continued with CPU count 1024, begun with {began['cpus']}",
    ]
    assert json.loads((tmp_path / "out" / "study.json").read_text())["deviations"] == deviations


def test_the_plan_and_what_it_can_resolve_are_recorded_before_the_first_trial(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready("--seeds", 3)
    begun = begin_study(prepared, resources, "python -m study.run", None)
    written = (tmp_path / "out" / FIRST_PLAN).read_bytes()
    assert begun.plan_hash == hashlib.sha256(written).hexdigest()
    resumed(ready, tmp_path, "--trials", 20)  # the longer plan is another object
    assert (tmp_path / "out" / FIRST_PLAN).read_bytes() == written
    expected = resolvable_effect(6, 3)
    assert begun.resolution | {"difference": expected, "seeds": 3, "items": 6} == begun.resolution


def test_a_second_driver_of_one_study_is_refused(tmp_path: Path) -> None:
    with sole_driver(tmp_path):
        with pytest.raises(InputError, match="another process runs its study"), sole_driver(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []
    with sole_driver(tmp_path):
        pass


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", bytes(40)])
def test_a_torn_study_json_is_read_from_its_copy(
    torn: bytes, ready: Prepare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared, resources = ready()
    begin_study(prepared, resources, "python -m study.run", None)
    resumed(ready, tmp_path, "--trials", 20)
    before = (tmp_path / "out" / "study.json").read_text()
    (tmp_path / "out" / "study.json").write_bytes(torn)
    again, identity, _ = resumed(ready, tmp_path)
    assert json.loads(json.dumps(identity.to_dict())) == json.loads(before)
    assert again.study.budget.trials == 20
    assert (tmp_path / "out" / "study.json").read_text() == before
    assert "study.json is damaged: continuing with the copy in the ledger." in capsys.readouterr().err


def test_a_torn_manifest_is_a_line(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready()
    begin_study(prepared, resources, "python -m study.run", None)
    (tmp_path / "out" / "manifest.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"manifest\.parquet is damaged: restore a copy of it"):
        resumed(ready, tmp_path)


def test_a_torn_plan_is_drawn_again_unless_it_was_extended(ready: Prepare, tmp_path: Path) -> None:
    prepared, resources = ready()
    begin_study(prepared, resources, "python -m study.run", None)
    part = tmp_path / "out" / ledger.LEDGER / "plan" / "000.json"
    before = part.read_bytes()
    part.write_bytes(before[:100])
    resumed(ready, tmp_path, "--trials", 20)
    assert part.read_bytes() == before
    assert len(ledger.read_plan(tmp_path / "out")) == 20
    part.write_bytes(before[:100])
    with pytest.raises(InputError, match="damaged: restore a copy of it"):
        resumed(ready, tmp_path)


def test_the_printed_line_goes_on_where_epochs_were_more_than_any_published_configuration_has(
    ready: Prepare, tmp_path: Path
) -> None:
    row = 'Published(name="r", config={"epochs": 3}, metric="accuracy", fold="test", value=0.5)'
    text = STUDY_FILE.replace("import Budget, Study", "import Budget, Published, Study")
    study = write_study(tmp_path, text.replace("    control=", f"    published=[{row}],\n    control="))
    prepared, resources = ready("--published", "--epochs", 100, study=study)
    begin_study(prepared, resources, "python -m study.run", None)
    assert resumed(ready, tmp_path, "--published", "--epochs", 100)[0].study == prepared.study
    with pytest.raises(InputError, match="with --epochs 3, but got 2"):
        resumed(ready, tmp_path, "--published", "--epochs", 2)


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["--epochs", "5"], "with --epochs 4, but got 5: leave it out"),
        (["--test-folds", "3"], "with --test-folds None, but got 3: leave it out"),
        (["--refine", "3"], "with --refine 2, but got 3: leave it out"),
        (["--seed", "1"], "with --seed 0, but got 1"),
        (["--hours", "1"], "with --hours None, but got 1"),
        (["--weights", "none"], "with --weights pretrained, but got none"),
        (["--cpus-per-trial", "2"], "with --cpus-per-trial 1, but got 2|available CPUs"),
        (["--test", "elsewhere"], "with --test None, but got .*elsewhere"),
        (["--trials", "15"], "--trials can only grow: the study has 16, but got 15"),
        (["--seeds", "2"], "--seeds can only grow: the study has 3, but got 2"),
        (["--seeds", "4", "--most-seeds", "3"], "--most-seeds must be at least --seeds, but got 3 and 4"),
    ],
)
def test_a_resume_with_other_flags(fails: Fails, begun: Path, flags: list[str], pattern: str) -> None:
    fails(pattern, "--resume", *flags, out=begun)


def test_a_resume_of_another_study(fails: Fails, begun: Path, tmp_path: Path) -> None:
    for old, new, part in [
        ("Does a", "Will a", "question of 'tiny'.*was Does a tiny study run. and is Will a tiny study run."),
        (
            '"none", "light"',
            '"none", "light", "medium"',
            "factor 'augmentation' of 'tiny'.*was none, light and is none, light, medium",
        ),
        ("1e-3, 1e-1", "1e-3, 1e-2", r"nuisance 'learning_rate' of 'tiny'.*was {.high.: 0.1} and is {.high.: 0.01}"),
        ('"size": 16', '"size": 24', "fixed 'size' of 'tiny'.*was 16 and is 24"),
        ('"size": 16', '"size": 16, "views": 3', "fixed 'views' of 'tiny'.*was not there and is 3"),
        ("refine=2", "refine=3", "budget's 'refine' of 'tiny'.*was 2 and is 3"),
        ("trials=16", "trials=17", "budget's 'trials' of 'tiny'.*was 16 and is 17"),
        (
            "    budget=",
            '    metric="val_macro_f1",\n    budget=',
            "metric of 'tiny'.*val_accuracy and is val_macro_f1",
        ),
        ("control=False", "control=True", "control of 'tiny'.*was false and is true"),
        (
            'factors={"regularizer": ["none", "dropout"], "augmentation": ["none", "light"]}',
            'factors={"augmentation": ["none", "light"], "regularizer": ["none", "dropout"]}',
            "order of factors of 'tiny'.*was regularizer, augmentation and is augmentation, regularizer",
        ),
    ]:
        assert old in STUDY_FILE
        study = write_study(tmp_path, STUDY_FILE.replace(old, new))
        fails(f"the {part}", "--resume", out=begun, study=study)


def test_a_resume_without_its_images_or_its_memory(fails: Fails, begun: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "fewer", 4)
    fails("04.png is missing or has changed.*pass --data", "--resume", out=begun, data=tmp_path / "fewer")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "study.json").write_text('{"name": "x"}')
    fails(
        "study.json does not describe a study that can be resumed.*choose another --out",
        "--resume",
        out=tmp_path / "other",
    )
