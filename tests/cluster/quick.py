"""A worker of SLURM for tests: what dies after some seconds has not died at once."""

from lora_jax.cluster import deaths
from lora_jax.cluster.slurm_worker import SlurmWorker

SOON = 3.0  # in place of a minute
MOST = 9  # on a busy machine gloo gives up when a process is 30 s late


class QuickWorker(SlurmWorker):
    """A SlurmWorker that is started again also where it died after a few seconds."""

    def __call__(self) -> None:
        deaths.SOON, deaths.MOST = SOON, MOST  # in the job's process
        super().__call__()
