"""Whole studies whose --out is an address, through the real command line on a real Ray and a real S3 server."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from study import results
from study.fetch import fetch
from study.persistence.remote import connect
from tests.object_store import CREDENTIALS, uri
from tests.tiny import PATIENCE, STUDY_FILE, command, make_pictures, run, write_study

pytestmark = pytest.mark.cluster
TIMING = ["seconds", "images_per_second"]
# A study of few trials; who resumes it on another machine waits less long for the one that was killed.
SMALL = STUDY_FILE.replace("trials=16, epochs=4, refine=2, seeds=3", "trials=4, epochs=2, refine=1, seeds=1").replace(
    ', "augmentation": ["none", "light"]', ""
)
IMPATIENT = (
    "import sys; from study.persistence import lease; lease.SILENT, lease.BEAT = 10.0, 0.5\n"
    "from study.run import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("remote")
    return [
        write_study(folder, SMALL),
        "--data",
        make_pictures(folder / "pictures", 10),
        "--concurrent",
        1,
        "--skip-preflight",
    ]


def table(study: results.Results, name: str) -> pd.DataFrame:
    frame = getattr(study, name).drop(columns=TIMING, errors="ignore")
    return frame.sort_values(
        [column for column in ("trial", "epoch", "fold", "item") if column in frame], ignore_index=True
    )


def test_killed_and_gone_on_with_on_an_empty_machine_a_remote_study_has_the_tables_of_a_local_one(
    endpoint: str, arguments: list[object], tmp_path: Path
) -> None:
    run(*arguments, "--cache", tmp_path / "cache", "--out", tmp_path / "local")
    out = uri(endpoint, "studies/tiny")
    killed_when_ended(out, [*arguments, "--cache", tmp_path / "cache", "--out", out], 5)
    again = [*arguments, "--cache", tmp_path / "another machine's", "--out", out, "--resume"]
    done = subprocess.run([sys.executable, "-c", IMPATIENT, *map(str, again)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "s3://bucket/studies/tiny/report.html" in done.stdout
    fetch(out, tmp_path / "fetched")
    local, fetched = (results.read(tmp_path / name) for name in ("local", "fetched"))
    for name in ("manifest", "epochs", "predictions"):
        pd.testing.assert_frame_equal(table(local, name), table(fetched, name), check_exact=True)
    columns = ["trial", "status", "epochs_run", "best_epoch", "val_accuracy", "stands_for"]
    pd.testing.assert_frame_equal(table(local, "trials")[columns], table(fetched, "trials")[columns])
    assert fetched.study.get("test_openings") == 1
    assert pd.read_csv(tmp_path / "fetched" / "answers.csv").equals(pd.read_csv(tmp_path / "local" / "answers.csv"))
    remote = connect(out)
    assert {"report.html", "tensorboard", "best"} <= remote.names()
    assert not remote.listing("drivers")
    assert not remote.listing("checkpoints")
    said = json.dumps(fetched.study) + done.stdout + done.stderr
    assert not [secret for secret in CREDENTIALS.values() if secret in said]


def killed_when_ended(out: str, arguments: list[object], ends: int) -> None:
    """Kill it once so many trials have ended."""
    process = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    remote, deadline = connect(out), time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if len(remote.listing("ledger/ends")) >= ends:
            process.kill()
            process.communicate()
            return
        time.sleep(0.05)
    raise AssertionError(f"ended with {process.returncode} before {ends} trials had: {process.communicate()}")
