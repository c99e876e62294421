"""The sections of the benchmark by name: how often each repeats and what measures it.

What a section imports takes seconds, which --help and the other sections need not wait for: it is imported
when the section runs.
"""

from collections.abc import Callable

from benchmarks.figures import Section
from lora_jax.timing import Say

Measure = Callable[[int, Say], tuple[Section, ...]]  # of repetitions and of what prints progress


def run_startup(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.startup import measure_startup

    return (measure_startup(repeats, say),)


def run_steps(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.steps import measure_steps

    return measure_steps(repeats, say)


def run_lora(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.lora import measure_lora

    return measure_lora(repeats, say)


def run_lanes(repeats: int, say: Say) -> tuple[Section, ...]:
    disable_compilation_cache()
    from benchmarks.lanes import measure_lanes

    return measure_lanes(repeats, say)


def run_compilation(repeats: int, say: Say) -> tuple[Section, ...]:
    disable_compilation_cache()
    from benchmarks.compilation import measure_compilation

    return (measure_compilation(repeats, say),)


def run_choices(repeats: int, say: Say) -> tuple[Section, ...]:
    disable_compilation_cache()
    from benchmarks.choices import measure_choices

    return (measure_choices(repeats, say),)


def run_optimizers(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.optimizers import measure_optimizers

    return (measure_optimizers(repeats, say),)


def run_fits(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.fits import measure_fits

    return (measure_fits(repeats, say),)


def run_generation(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.generation import measure_generation

    return measure_generation(repeats, say)


def run_data(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.data import measure_data

    return (measure_data(repeats, say),)


def run_watching(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.watching import measure_watching

    return (measure_watching(repeats, say),)


def run_checkpoints(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.checkpoints import measure_checkpoints

    return (measure_checkpoints(repeats, say),)


def run_store(repeats: int, say: Say) -> tuple[Section, ...]:
    from benchmarks.store import measure_store

    return (measure_store(repeats, say),)


def run_tokenising(repeats: int, say: Say, megabytes: float | None = None) -> tuple[Section, ...]:
    from benchmarks.tokenising import MEGABYTES, measure_tokenising

    return (measure_tokenising(repeats, say, MEGABYTES if megabytes is None else megabytes),)


def run_gpu(repeats: int, say: Say) -> tuple[Section, ...]:
    """Without an accelerator, nothing: where it was asked for by name, the driver has refused."""
    import jax

    if jax.default_backend() == "cpu":
        return ()
    from benchmarks.gpu import measure_gpu

    return measure_gpu(repeats, say)


def disable_compilation_cache() -> None:
    """Whatever the environment says: JAX asks once in a process whether to use it."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)


# Name: how often, what. The start goes first, before this process takes up memory.
SECTIONS: dict[str, tuple[int, Measure]] = {
    "startup": (10, run_startup),
    "step": (20, run_steps),
    "lora": (5, run_lora),
    "lanes": (5, run_lanes),
    "compile": (5, run_compilation),
    "choices": (20, run_choices),
    "optimizers": (10, run_optimizers),
    "fits": (5, run_fits),
    "generation": (5, run_generation),
    "data": (3, run_data),
    "watching": (20, run_watching),
    "checkpoints": (10, run_checkpoints),
    "store": (3, run_store),
    "gpu": (10, run_gpu),
}
