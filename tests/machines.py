"""Several machines on one: namespaces of their own on a bridge, each with its own home, sshd and processes.

They share the file system, so any folder is shared storage to them; but each has its own home (at one path), /dev/shm,
/run, and what Ray keeps in /tmp. Whatever they start ends with the process that started them: nothing is left behind.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

NEEDED = ("bash", "hostname", "ip", "setpriv", "unshare", "ssh", "ssh-keygen", "sshd", "rsync")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where sshd and ip are, which not every shell looks
_OWN = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--mount", "--uts", "--ipc"]
_ITSELF = ("unshare", "bash", "sshd")  # what a machine consists of
# Ray's own places: its sessions, and where the launcher of user root keeps its connections.
_RAY = (Path("/tmp/ray"), Path("/tmp/ray_ssh_4813494d13"))
_MOUNT = f"for own in {' '.join(map(str, _RAY))} /dev/shm /run; do mount -t tmpfs tmpfs $own; done"
_SETUP = f"""
set -e
hostname "$NAME"
mount --bind "$FOLDER/home-of-$NAME" "$FOLDER/home"
{_MOUNT}
mkdir /run/sshd
sshd=$(command -v sshd)
"$sshd" -D -e -f "$FOLDER/sshd_config" -h "$FOLDER/host-key-of-$NAME" &
wait
"""
_SSHD = """
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
"""


@dataclass(frozen=True)
class Machine:
    name: str
    address: str


def missing() -> str:
    """What this machine lacks to be several; empty where nothing."""
    if sys.platform != "linux":
        return "Linux"
    if os.geteuid() != 0:
        return "root"
    lacking = [program for program in NEEDED if shutil.which(program, path=_PATH) is None]
    if lacking:
        return f"{', '.join(lacking)} (Debian's iproute2, openssh-server and rsync)"
    tried = "mount -t tmpfs tmpfs /run && ip link add one type bridge && ip link add two type veth peer name three"
    allowed = subprocess.run([*_OWN, "--net", "bash", "-c", tried], env=_environment(), capture_output=True, text=True)
    return "" if allowed.returncode == 0 else f"the right to make namespaces ({allowed.stderr.strip()})"


def apart(command: Sequence[str]) -> int:
    """Run a command in namespaces of its own, where machines can be made; all it started ends with it."""
    made = [place for place in _RAY if not place.exists()]
    for place in made:
        place.mkdir()  # to mount on
    last_wish = ["setpriv", "--pdeathsig", "KILL"]  # where this process is killed
    inside = f'{_MOUNT} && ip link set lo up && "$@"; exit $?'
    try:
        return subprocess.run(
            [*last_wish, *_OWN, "--net", "bash", "-c", inside, "bash", *command], env=_environment(), check=False
        ).returncode
    finally:
        for place in made:
            place.rmdir()


def connect(folder: Path, network: str) -> None:
    """Make a bridge, with this machine at address 1 of `network` (as 10.9.0), and a user that may log in everywhere.

    Every machine has a home of its own at `folder`/home, this one too; here the key lies in it.
    """
    key = folder / "home/.ssh/id_ed25519"
    key.parent.mkdir(parents=True)
    _key(key)
    shutil.copy(f"{key}.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(_SSHD.format(folder=folder))
    others = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("root:")]
    (folder / "passwd").write_text("\n".join([f"root:x:0:0:root:{folder}/home:/bin/bash", *others]) + "\n")
    (folder / "shadow").write_text("root:*:19000:0:99999:7:::\n")
    for each in ("passwd", "shadow"):
        subprocess.run(["mount", "--bind", str(folder / each), f"/etc/{each}"], check=True)
    _ip("link", "add", "bridge", "type", "bridge")
    _ip("address", "add", f"{network}.1/24", "dev", "bridge")
    _ip("link", "set", "bridge", "up")


def start(machine: Machine, folder: Path) -> None:
    """Start a machine; it ends with this process."""
    name = machine.name
    (folder / f"home-of-{name}").mkdir()
    _key(folder / f"host-key-of-{name}")
    _ip("netns", "add", name)
    _ip("link", "add", name, "master", "bridge", "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("-n", name, "address", "add", f"{machine.address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip("-n", name, "link", "set", link, "up")
    join(machine)
    _ip("-n", name, "route", "add", "default", "dev", "eth0")  # Ray asks for it to learn the machine's address
    environment = _environment() | {"NAME": name, "FOLDER": str(folder)}
    with (folder / f"sshd-of-{name}.log").open("w") as log:
        subprocess.Popen(
            ["ip", "netns", "exec", name, *_OWN, "bash", "-c", _SETUP], env=environment, stdout=log, stderr=log
        )


def kill(machine: Machine) -> int:
    """SIGKILL to all that runs on a machine but its sshd, and wait for their end; how many processes that were."""
    killed = [process for process, name in _processes(machine).items() if name not in _ITSELF]
    for process in killed:
        process.kill()
    psutil.wait_procs(killed, timeout=30)
    return len(killed)


def cut(machine: Machine) -> None:
    """Unplug its cable: no packet passes, no connection is closed."""
    _ip("link", "set", machine.name, "down")


def join(machine: Machine) -> None:
    _ip("link", "set", machine.name, "up")


def running(machine: Machine, name: str) -> int:
    """How many processes of this name run on a machine."""
    return list(_processes(machine).values()).count(name)


def works(machine: Machine) -> bool:
    """Whether a Ray worker there has something to do."""
    return any(name.startswith("ray::") and name != "ray::IDLE" for name in _processes(machine).values())


def _processes(machine: Machine) -> dict[psutil.Process, str]:
    """What runs on a machine, with its names."""
    network = Path(f"/run/netns/{machine.name}").stat().st_ino
    found = {}
    for process in psutil.process_iter():
        try:
            if Path(f"/proc/{process.pid}/ns/net").stat().st_ino == network:
                found[process] = process.name()
        except (OSError, psutil.Error):  # it has just ended
            continue
    return found


def _key(file: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], env=_environment(), check=True)


def _environment() -> dict[str, str]:
    return os.environ | {"PATH": _PATH}
