"""Answer JAX's questions about the GPU, before it calls cuDNN's attention, for a target that is not here.

JAX allows heads wider than 128 from compute capability 9.0 on, and asks the process for that of its GPU. A
process that compiles for an H100 on a machine without one has no GPU to ask. JAX would take the GPU for an
older one and refuse. Nothing else of the call depends on the process.
"""

from collections.abc import Generator
from contextlib import contextmanager

from lora_jax.errors import LoraJaxError
from lora_jax.target import Target

AT_LEAST, EQUAL = "check_compute_capability", "is_cuda_compute_capability_equal"


@contextmanager
def answering_for(target: Target) -> Generator[None]:
    """Let JAX's checks of cuDNN's attention see the target during the block.

    Raises:
        LoraJaxError: This version of JAX has no such checks.
    """
    capability = target.capability
    if capability is None:
        yield
        return
    from jax._src.cudnn import fused_attention_stablehlo as checks

    if not hasattr(checks, AT_LEAST) or not hasattr(checks, EQUAL):
        raise LoraJaxError(
            "this version of JAX asks for a GPU's capability in a way that is not known here: compile for"
            " GPUs with the version in constraints.txt."
        )
    present = getattr(checks, AT_LEAST), getattr(checks, EQUAL)
    setattr(checks, AT_LEAST, lambda wanted: capability >= _read(wanted))
    setattr(checks, EQUAL, lambda wanted: capability == _read(wanted))
    try:
        yield
    finally:
        setattr(checks, AT_LEAST, present[0])
        setattr(checks, EQUAL, present[1])


def _read(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
