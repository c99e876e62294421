"""What speaks against the figures of a latency table: a machine that did other work."""

from lora_jax.report.latency.results import LatencyTable

QUIET_LOAD = 0.3  # load average of the last minute up to which a machine passes for quiet
QUIET_CORES = 0.1  # cores that other processes may keep busy


def doubts_of(table: LatencyTable) -> list[str]:
    """Return what speaks against the figures, a sentence each."""
    doubts = []
    if table.load_average > QUIET_LOAD:
        doubts.append(f"The load of this machine was {table.load_average:.1f} when it began, not 0.")
    if table.others is not None and table.others > QUIET_CORES:
        doubts.append(
            f"Other processes kept {table.others:.2f} cores busy on average: run it again on a quiet machine."
        )
    return doubts
