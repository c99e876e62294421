"""A SLURM cluster of this machine's own: munged, slurmctld and slurmd, started here and ended here."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
PACKAGES = "apt install slurm-wlm munge"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where Debian puts daemons
CPUS = 8  # that the node says it has, so that eight workers run at once on fewer cores

# Jobs of "low" are requeued when one of "high" wants their place. "graceful" gives them time after a signal.
# AuthInfo's cred_expire is how long SLURM waits before a requeued job may start: two minutes, if not said.
CONFIGURATION = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1
MpiDefault=none
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{user_signal}
EnforcePartLimits=ALL
KillWait=10
InactiveLimit=0
MinJobAge=300
{nodes}
PartitionName=low Nodes=ALL Default=YES MaxTime=60 PriorityTier=1 State=UP
PartitionName=graceful Nodes=ALL MaxTime=60 PriorityTier=1 GraceTime=30 State=UP
PartitionName=high Nodes=ALL MaxTime=60 PriorityTier=10 PreemptMode=OFF State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} State=UNKNOWN"


def node_name() -> str:
    """Return the name of the first node: one that resolves, by which processes of a step find each other."""
    return socket.gethostname().partition(".")[0]


@dataclass(frozen=True)
class Slurm:
    """A cluster that runs. Its programs find it by `SLURM_CONF`, which is in the environment meanwhile."""

    folder: Path

    def ask(self, program: str, *arguments: str) -> str:
        """Run one of SLURM's programs and return what it printed."""
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{program} {arguments}: {done.stderr}{self.tail()}"
        return done.stdout.strip()

    def states(self, job: str = "") -> dict[str, str]:
        """Return {job: state} of what SLURM remembers; of an array 1234_0 and so on. job: of that alone."""
        chosen = ["--job", job] if job else []
        text = self.ask("squeue", "--noheader", "--states=all", "--array", "--format=%i %T", *chosen)
        return dict(line.split() for line in text.splitlines())

    def wait_until(self, is_so: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        """Wait for something to be so; fails with the end of the daemons' logs."""
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, f"not so after {seconds} s: {what}\n{self.states()}\n{self.tail()}"
            time.sleep(0.2)

    def tail(self) -> str:
        """Return the ends of the daemons' logs."""
        return "\n".join(
            f"-- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            for log in sorted(self.folder.glob("*.log"))
        )


def why_none() -> str | None:
    """Return why no cluster can be had here, or None."""
    missing = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=PATH) is None]
    if missing:
        return f"{', '.join(missing)} not installed: {PACKAGES}"
    return None if os.geteuid() == 0 else f"slurmd needs root, and this is {getpass.getuser()}"


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A cluster of one node and three partitions for the tests of a file."""
    reason = why_none()
    if reason is not None:
        pytest.skip(reason)
    with start_slurm() as cluster:
        yield cluster


@contextmanager
def start_slurm(user_signal: bool = True, n_nodes: int = 1) -> Generator[Slurm]:
    """Start a cluster in a folder of its own; end all of it, and what its jobs left, at the end.

    user_signal: before a preemption SLURM sends the signal that a job asked for, else SIGTERM. n_nodes: each
    has a slurmd of its own, and all are this machine.
    """
    with ExitStack() as stack:
        place = tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(place))
        folder.chmod(0o755)  # munged runs as another user
        (folder / "state").mkdir()
        cluster = Slurm(folder)
        host = node_name()
        controller_port, *ports = free_ports(1 + n_nodes)
        names = [host, *(f"{host}-{number}" for number in range(2, n_nodes + 1))]
        configuration = folder / "slurm.conf"
        configuration.write_text(
            CONFIGURATION.format(
                host=host,
                folder=folder,
                controller_port=controller_port,
                nodes="\n".join(
                    NODE.format(name=name, host=host, port=port, cpus=CPUS)
                    for name, port in zip(names, ports, strict=True)
                ),
                user_signal="SlurmctldParameters=preempt_send_user_signal" if user_signal else "",
            )
        )
        before = os.environ.copy()
        stack.callback(restore, before)
        os.environ |= {"SLURM_CONF": str(configuration), "PATH": PATH}
        stack.enter_context(start_munged(folder / "munge", folder / "munged.log"))
        start_daemon(stack, cluster, ["slurmctld", "-D", "-i", "-f", str(configuration)])
        for name in names:
            (folder / f"spool-{name}").mkdir()
            start_daemon(stack, cluster, ["slurmd", "-D", "-N", name, "-f", str(configuration)])
        cluster.wait_until(lambda: is_up(cluster), "the node is idle", 60)
        stack.callback(end_jobs, cluster)
        yield cluster


def is_up(cluster: Slurm) -> bool:
    done = subprocess.run(
        ["sinfo", "-h", "-p", "low", "-o", "%t"], capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip() == "idle"


def restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def free_ports(n: int) -> list[int]:
    """Return ports that nobody listened to a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def start_munged(folder: Path, log: Path) -> Generator[None]:
    """Start munged as the user that Debian's package makes for it: it refuses files of others."""
    folder.mkdir(mode=0o755)
    key = folder / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (folder, key):
        shutil.chown(path, "munge", "munge")
    files = {
        "key-file": "key",
        "socket": "socket",
        "pid-file": "pid",
        "log-file": "log",
        "seed-file": "seed",
    }
    named = [f"--{kind}={folder / name}" for kind, name in files.items()]
    with (
        log.open("w") as out,
        subprocess.Popen(
            ["munged", "--foreground", *named], user="munge", group="munge", stdout=out, stderr=out
        ) as munged,
    ):
        try:
            end = time.monotonic() + 20
            while not (folder / "socket").exists():
                assert munged.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            munged.terminate()


def start_daemon(stack: ExitStack, cluster: Slurm, command: list[str]) -> None:
    """Start a daemon in the foreground, to be ended with the stack."""
    out = stack.enter_context((cluster.folder / f"{command[0]}.out").open("a"))
    daemon = stack.enter_context(
        subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
    )
    stack.callback(daemon.terminate)


def end_jobs(cluster: Slurm) -> None:
    """Cancel every job and wait until none is left: slurmd leaves its jobs running when it ends."""
    subprocess.run(["scancel", "--user=root"], timeout=60)
    end = time.monotonic() + 60
    while time.monotonic() < end and cluster.ask("squeue", "--noheader"):
        time.sleep(0.2)
