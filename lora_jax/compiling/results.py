"""What compiling the steps of a config for a target found, as types; JSON by lora_jax/documents.py."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Memory:
    """Bytes of one device.

    Attributes:
        arguments: What the step takes in: weights, the optimizer's state, the batch.
        temporaries: What it needs besides while it runs, as one piece. A TPU's compiler leaves gaps in it.
        peak: What is in use at once, at most: the compiler's own count, by which it refuses a program.
        limit: The device's memory by its data sheet.
    """

    arguments: float
    temporaries: float
    peak: float
    limit: float


@dataclass(frozen=True)
class Collective:
    """Collectives of one kind in one step of one device; loops are unrolled.

    Attributes:
        kind: all-gather, all-reduce, reduce-scatter, all-to-all or collective-permute.
        count: How many.
        received_bytes: What a device receives by all of them.
        largest_bytes: What it receives by the largest.
    """

    kind: str
    count: int
    received_bytes: float
    largest_bytes: float


@dataclass(frozen=True)
class StepEstimate:
    """An estimate of a step's time. Nobody measured it (docs/accelerators.md has the rule).

    Attributes:
        seconds: Computing, of one step.
        kernel_seconds: The part of it that is custom kernels, whose time we add by our own rule.
        communication_seconds: The collectives alone, at the links' full speed (compiling/links.py).
        utilisation: FLOPs of the model over what the devices could compute in `seconds`.
        unpriced_kernels: Custom kernels whose FLOPs we cannot read. Only their bytes are in `seconds`.
    """

    seconds: float
    kernel_seconds: float
    communication_seconds: float
    utilisation: float
    unpriced_kernels: tuple[str, ...]

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the seconds of a step whose communication is hidden, and of one where none is."""
        computing, communication = self.seconds, self.communication_seconds
        return max(computing, communication), computing + communication

    @property
    def utilisations(self) -> tuple[float, float]:
        """Return the shares of the peak that the step reaches at these bounds, the smaller first."""
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
        fused_attention: Does a kernel compute the attention without holding all scores?
        memory: None where the compiler refused the program for its memory and does not tell the parts.
        collectives: By kind. Empty on one device.
        estimate: None where the program does not fit.
        warnings: What to change, a sentence each.
        compile_seconds: What tracing and compiling took here.
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
        config: The name of the config.
        target: Such as "h100-80gb:8".
        mesh: Such as "data=1,fsdp=8,tensor=1".
        jax_version: The version of JAX that compiled.
        steps: One for each shape, in the order of the config.
    """

    config: str
    target: str
    mesh: str
    jax_version: str
    steps: tuple[CompiledStep, ...]
