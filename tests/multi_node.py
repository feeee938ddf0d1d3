"""A study on three machines of which one is lost, from `ray up` to `ray down`.

    python -m tests.multi_node                  # a worker is killed, with all that runs on it
    python -m tests.multi_node --lose network   # a worker's network is cut for a while
    python -m tests.multi_node --lose head      # the head is killed: Ray's memory (GCS), the study's driver, all
    python -m tests.multi_node --lose head worker   # first the one, then the other

The study goes on while a worker is lost, so the worker comes last.

The machines are namespaces of this one (tests/machines.py). The commands are the README's, the cluster file is
clusters/local.yaml with their addresses, the study is small. Ends with status 0 and one line where it may not run.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests import machines
from tests.machines import Machine
from tests.tiny import STUDY_FILE, make_pictures, write_study
from tests.whole import differences, summary

ROOT = Path(__file__).parent.parent
ENVIRONMENT = Path(sys.executable).parent.parent
CLUSTER_FILE = "clusters/local.yaml"
EXPORT = "export RAY_AUTH_MODE=token RAY_UP_enable_autoscaler_v2=0 PATH=$PWD/.venv/bin:$PATH"
NETWORK = "10.9.0"
HEAD, FIRST, SECOND = (Machine(name, f"{NETWORK}.{10 + i}") for i, name in enumerate(("head", "first", "second")))
# What differs from the file as it stands: every worker has one CPU, and the packages are there already.
EDITS = {
    "192.168.1.10 ": f"{HEAD.address} ",
    "[192.168.1.11, 192.168.1.12]": f"[{FIRST.address}, {SECOND.address}]",
    "ssh_user: you ": "ssh_user: root ",
    "cd ~/study && make setup": f"ln -sfn {ENVIRONMENT} ~/study/.venv",
    "ray start --head ": "ray start --head --num-cpus=0 ",
    "ray start --address=$RAY_HEAD_IP:6379": "ray start --address=$RAY_HEAD_IP:6379 --num-cpus=1",
}
# Long enough to have a middle.
STUDY = STUDY_FILE.replace('"size": 16', '"size": 64').replace("epochs=4", "epochs=9")
DISTURB_AFTER = 5  # more trials have ended
CUT_SECONDS = 90  # Ray gives up a machine that says nothing after about 60
PATIENCE = 600  # seconds, for anything


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lose", nargs="+", choices=tuple(DISTURBANCES), default=["worker"])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy what all machines leave there")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.inside:
        return tell(chosen.inside, chosen.lose)
    if lacking := machines.missing():
        print(f"Not run: it needs {lacking}.")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="sn"))
    try:
        return machines.apart([sys.executable, "-m", "tests.multi_node", *arguments, "--inside", str(folder)])
    finally:
        if chosen.keep:
            sockets = shutil.ignore_patterns("ray")
            shutil.copytree(folder, chosen.keep, symlinks=True, dirs_exist_ok=True, ignore=sockets)
        shutil.rmtree(folder)


def tell(folder: Path, lose: list[str]) -> int:
    """The whole story on machines whose files lie in `folder`; 0 where the study is whole at its end."""
    prepare(folder)
    token, up, status, submit, logs, fetch, down = commands(folder)
    laptop = Laptop(folder)
    laptop.run(token)

    def begin() -> None:
        laptop.run(up)
        laptop.say("  the head is up")
        wait(lambda: "/2.0 CPU" in laptop.quietly(status), "two workers")
        laptop.run(status, "CPU|local.cluster")
        laptop.run(submit, "success")

    begin()
    for each in lose:
        DISTURBANCES[each](laptop)
        if each == "head":
            begin()
    laptop.run(logs, "Report:")
    laptop.run(fetch)
    laptop.run(down)
    laptop.say("the same study on one machine, undisturbed")
    out, undisturbed = folder / "shared/runs/tiny", folder / "undisturbed"
    here = f"--data {folder}/shared/pictures --out {undisturbed} --cache {folder}/cache"
    laptop.quietly(f"python -m study.run {folder}/shared/tiny.py {here}")
    laptop.say(summary(out, undisturbed))
    wrong = differences(out, undisturbed, folder / "fetched/report.html")
    # Workers end by themselves, a minute after their head.
    wait(lambda: not any(machines.running(each, "raylet") for each in (HEAD, FIRST, SECOND)), "all raylets to end")
    laptop.say("no machine runs Ray any more")
    laptop.say("\n".join(f"WRONG: {each}" for each in wrong) or "all as it must be")
    return 1 if wrong else 0


def prepare(folder: Path) -> None:
    """Images and study on the shared storage, the machines, and their addresses in the cluster file."""
    make_pictures(folder / "shared/pictures", 40)
    write_study(folder / "shared", STUDY)
    (folder / "fetched").mkdir()
    machines.connect(folder, NETWORK)
    for machine in (HEAD, FIRST, SECOND):
        machines.start(machine, folder)
    (folder / "local.yaml").write_text(edited((ROOT / CLUSTER_FILE).read_text(), EDITS))


def lose_worker(laptop: "Laptop") -> None:
    ended = in_the_middle(laptop)
    laptop.say(f"  {machines.kill(SECOND)} processes of worker {SECOND.name} killed: its raylet, its trial, all")
    wait(lambda: machines.running(SECOND, "raylet"), "the worker to come back")
    laptop.say(f"  Ray has started the worker again; {ended()} trials have ended")


def lose_network(laptop: "Laptop") -> None:
    ended = in_the_middle(laptop)
    machines.cut(SECOND)
    laptop.say(f"  the network of worker {SECOND.name} is cut for {CUT_SECONDS} s")
    time.sleep(CUT_SECONDS)
    machines.join(SECOND)
    laptop.say(f"  its network is back; {ended()} trials have ended")


def lose_head(laptop: "Laptop") -> None:
    in_the_middle(laptop)
    laptop.say(f"  {machines.kill(HEAD)} processes of the head killed: the GCS, the study's driver, all")


DISTURBANCES = {"worker": lose_worker, "network": lose_network, "head": lose_head}


def in_the_middle(laptop: "Laptop") -> Callable[[], int]:
    """Wait until some more trials have ended and the second worker trains one.

    Returns the function that counts the trials that have ended.
    """
    out = laptop.folder / "shared/runs/tiny"

    def ended() -> int:
        return len(list((out / "ledger/ends").glob("[!.]*.json")))

    def disturbed_now() -> bool:
        assert not (out / "report.html").exists(), "the study ended before it was disturbed"
        return ended() >= enough and machines.works(SECOND)

    enough = ended() + DISTURB_AFTER
    wait(disturbed_now, "trials to end and others to run")
    laptop.say(f"  {ended()} trials have ended, others run")
    return ended


class Laptop:
    """Where the commands are typed, in the project's folder; says them with the seconds since the beginning."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.began = folder, time.monotonic()

    def say(self, text: str) -> None:
        for line in text.replace(str(self.folder), "").splitlines():
            print(f"{time.monotonic() - self.began:5.0f} s  {line}", flush=True)

    def run(self, command: str, show: str = "(?!)") -> None:
        """Say a command, run it, and show the lines of what it printed that match."""
        self.say(f"$ {command}")
        printed = re.sub(r"\x1b\[\d+m", "", self.quietly(command))
        self.say("\n".join(f"    {line.strip()}" for line in printed.splitlines() if re.search(show, line)))

    def quietly(self, command: str) -> str:
        """Run a command in a shell; what it printed, also kept in commands.log."""
        environment = {"PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder / "home")}
        environment |= {"TMPDIR": str(self.folder), "TERM": "dumb", "LANG": "C.UTF-8"}
        with (self.folder / "commands.log").open("a+") as log:
            print(f"\n$ {command}", file=log, flush=True)
            before = log.tell()
            status = subprocess.run(
                ["bash", "-c", f"{EXPORT}; {command}"], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, timeout=PATIENCE, check=False,
            ).returncode  # fmt: skip
            log.seek(before)
            printed = log.read()
        assert status == 0, printed
        return printed


def commands(folder: Path) -> list[str]:
    """What the README says for machines of one's own, on this study and in this folder."""
    block = re.search(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    lines = [re.sub(r"\s+# .*", "", line) for line in block[1].replace("\\\n", "").splitlines()]
    exported, *said = [re.sub(r"\s+", " ", line) for line in lines if line]
    assert exported == EXPORT, exported
    edits = {
        CLUSTER_FILE: f"{folder}/local.yaml",
        "study.run dogs": f"study.run {folder}/shared/tiny.py",
        "/shared/dogs": f"{folder}/shared/pictures",
        "/shared/runs/dogs": f"{folder}/shared/runs/tiny",
        "report.html .": f"report.html {folder}/fetched",
    }
    for old, new in edits.items():
        said = [line.replace(old, new) for line in said]
    return said


def edited(text: str, edits: dict[str, str]) -> str:
    for old, new in edits.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def wait(until: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
