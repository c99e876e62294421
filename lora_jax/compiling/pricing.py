"""What FLOPs cost on a target, in hours and device hours. `plan` and `design` both price with this."""

from collections.abc import Mapping
from dataclasses import dataclass

from lora_jax.compiling.links import network_assumption
from lora_jax.compiling.results import CompiledStep, CompileReport
from lora_jax.errors import LoraJaxError
from lora_jax.percent import percent
from lora_jax.target import Target


@dataclass(frozen=True)
class Speed:
    """How fast a target trains.

    Attributes:
        target: Its name, such as "tpu-v5e:4x4".
        n_devices: Its number of devices.
        slowest: FLOPs per second of all devices if no communication is hidden.
        fastest: The same if the smaller of computing and communication is hidden completely.
        basis: What it rests on, in words.
    """

    target: str
    n_devices: int
    slowest: float
    fastest: float
    basis: str

    def describe(self, flops: float) -> str:
        """Return a sentence about how long so many FLOPs take on the target, and what that rests on."""
        least, most = flops / self.fastest / 3600, flops / self.slowest / 3600
        devices = ""
        if self.n_devices > 1:
            devices = f" ({span(self.n_devices * least, self.n_devices * most)} device hours)"
        return f"{flops:.2e} FLOPs take {span(least, most)} hours on {self.target}{devices}: {self.basis}"


def assume_speed(target: Target, utilisation: float) -> Speed:
    """Return the speed of a target that is assumed to reach a share of its peak.

    Nothing was compiled for it.
    """
    speed = utilisation * target.device.peak_flops * target.n_devices
    basis = f"at {percent(utilisation)} of the peak, which is assumed and was neither compiled nor measured."
    if target.n_hosts > 1:
        basis += (
            f" That share has to hold the communication between {target.n_hosts} machines, which is not"
            " counted: --like CONFIG counts it."
        )
    return Speed(target.name, target.n_devices, speed, speed, basis)


def estimate_speed(report: CompileReport, target: Target, n_steps: Mapping[str, float]) -> Speed:
    """Return the speed by the estimates of the compiled steps.

    Args:
        report: The compiled steps.
        target: What they were compiled for.
        n_steps: By run_id, how often each run takes its step.

    Raises:
        LoraJaxError: A step has no estimate, for example because it does not fit.
    """
    flops = least = most = 0.0
    for step in report.steps:
        times = sum(n_steps.get(run_id, 0.0) for run_id in step.run_ids)
        if not times:
            continue
        fastest, slowest = _bounds(step, report.target)
        flops, least, most = flops + times * step.flops, least + times * fastest, most + times * slowest
    basis = "an estimate from the compiled program, which is no measurement."
    if target.n_devices > 1:
        basis += " It takes less where communication hides behind computing, and more where it does not."
        basis = f"{basis} {network_assumption(target)}".rstrip()
    return Speed(report.target, target.n_devices, flops / most, flops / least, basis)


def largest_step(report: CompileReport) -> CompiledStep:
    """Return the step with the most FLOPs."""
    return max(report.steps, key=lambda step: step.flops)


def span(low: float, high: float) -> str:
    """Return "3.1 to 4.2", or one number if both are written alike."""
    first, last = f"{low:,.3g}", f"{high:,.3g}"
    return first if first == last else f"{first} to {last}"


def _bounds(step: CompiledStep, name: str) -> tuple[float, float]:
    if step.estimate is None:
        raise LoraJaxError(
            f"the step {step.model} has no estimate on {name}, as it does not fit or its loops cannot be"
            " read: choose another target, or a smaller batch."
        )
    return step.estimate.bounds
