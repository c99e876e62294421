"""The types of what compiling a config's steps for a target found.

lora_jax/documents.py turns them into JSON.
"""

from dataclasses import dataclass

from lora_jax.target import Target, parse_target


@dataclass(frozen=True)
class Memory:
    """Bytes of one device.

    Attributes:
        arguments: What the step reads: weights, the optimizer's state, the batch.
        temporaries: What it needs in addition while it runs, as one piece. A TPU's compiler leaves gaps in
            it.
        peak: The most that is in use at once. This is the compiler's own count, by which it refuses a
            program.
        limit: The device's memory by its data sheet.
    """

    arguments: float
    temporaries: float
    peak: float
    limit: float


@dataclass(frozen=True)
class Collective:
    """Collectives of one kind in one step of one device. Loops are unrolled.

    Attributes:
        kind: all-gather, all-reduce, reduce-scatter, all-to-all or collective-permute.
        count: Their number.
        received_bytes: Bytes that a device receives by all of them.
        largest_bytes: Bytes that it receives by the largest.
        network_bytes: Bytes of received_bytes that come from other machines, by its network card.
    """

    kind: str
    count: int
    received_bytes: float
    largest_bytes: float
    network_bytes: float = 0.0


@dataclass(frozen=True)
class StepEstimate:
    """An estimate of a step's time. Nobody measured it (docs/accelerators.md has the rule).

    Attributes:
        seconds: Time of computing in one step.
        kernel_seconds: The part of it that custom kernels take, by our own rule.
        communication_seconds: Time of the collectives alone, at the links' full speed (compiling/links.py).
        utilisation: FLOPs of the model over what the devices could compute in `seconds`.
        unpriced_kernels: Custom kernels whose FLOPs we cannot read. `seconds` contains only their bytes.
    """

    seconds: float
    kernel_seconds: float
    communication_seconds: float
    utilisation: float
    unpriced_kernels: tuple[str, ...]

    @property
    def bounds(self) -> tuple[float, float]:
        """Seconds of a step whose communication is hidden, and of one where none is hidden."""
        computing, communication = self.seconds, self.communication_seconds
        return max(computing, communication), computing + communication

    @property
    def utilisations(self) -> tuple[float, float]:
        """Shares of the peak that the step reaches at these bounds, the smaller first."""
        least, most = self.bounds
        if not most:
            return 0.0, 0.0
        return self.utilisation * self.seconds / most, self.utilisation * self.seconds / least


@dataclass(frozen=True)
class CompiledStep:
    """The training step of one shape, compiled for a target.

    Attributes:
        model: The shape in words, such as "d768x12, batch 8 x 1024".
        n_params: Parameters without embeddings, as `plan` counts them.
        run_ids: The runs that share this step.
        flops: FLOPs of one step on all devices, by the convention of `plan`.
        fused_attention: Whether a kernel computes the attention without holding all scores.
        memory: Memory of one device. None if the compiler refused the program for its memory.
        collectives: The collectives, by kind. Empty on one device.
        estimate: The estimated time. None if the program does not fit, or has a loop that we cannot read.
        warnings: What to change, one sentence each.
        compile_seconds: Time that tracing and compiling took here.
    """

    model: str
    n_params: int
    run_ids: tuple[str, ...]
    flops: float
    fused_attention: bool
    memory: Memory | None
    collectives: tuple[Collective, ...]
    estimate: StepEstimate | None
    warnings: tuple[str, ...]
    compile_seconds: float


@dataclass(frozen=True)
class CompileReport:
    """Every different step of a config, compiled for one target.

    Attributes:
        config: Name of the config.
        target: The target, such as "h100-80gb:8".
        mesh: The mesh, such as "data=1,fsdp=8,tensor=1".
        jax_version: The version of JAX that compiled.
        steps: One for each shape, in the order of the config.
    """

    config: str
    target: str
    mesh: str
    jax_version: str
    steps: tuple[CompiledStep, ...]

    @property
    def parsed_target(self) -> Target:
        """The target with its devices."""
        return parse_target(self.target)
