"""How long the training step takes to compile, and that depth costs little."""

import time

import jax

from benchmarks.figures import Figure, Row, Section
from benchmarks.steps import Shape, lower_step
from lora_jax.timing import Say, divide

SHALLOW, DEEP = Shape(64, 12, 128, 4), Shape(64, 48, 128, 4)
RATIO_AT_MOST = 2.0


def measure_compilation(repeats: int, say: Say, shallow: Shape = SHALLOW, deep: Shape = DEEP) -> Section:
    """Time tracing and compiling of two depths in turns, nothing cached.

    The persistent cache has to be off before the process compiles anything (jax_enable_compilation_cache).
    """
    seconds: dict[Shape, list[tuple[float, float]]] = {shallow: [], deep: []}
    say(f"compile: warming up with {shallow.n_layers} layers")
    time_compilation(shallow)
    for number in range(1, repeats + 1):
        for shape in (shallow, deep):
            say(f"compile {number}/{repeats}: {shape.n_layers} layers")
            seconds[shape].append(time_compilation(shape))
    rows = [_row(shape, both) for shape, both in seconds.items()]
    ratio = divide(rows[1]["total"].samples, rows[0]["total"].samples)
    rows.append(
        Row(
            f"{deep.n_layers} layers / {shallow.n_layers} layers",
            {"numerator": deep.n_layers, "denominator": shallow.n_layers},
            (
                *(
                    Figure(name, "ratio", tuple(divide(rows[1][name].samples, rows[0][name].samples)))
                    for name in ("tracing", "compiling")
                ),
                Figure("total", "ratio", tuple(ratio), at_most=RATIO_AT_MOST, better="less"),
            ),
        )
    )
    return Section(
        "compile",
        "Compilation of the training step, from nothing",
        tuple(rows),
        note=f"GPT-2's shape, d {shallow.d_model}, T {shallow.seq_len}, batch {shallow.batch};"
        " JAX's caches emptied before each.",
    )


def time_compilation(shape: Shape) -> tuple[float, float]:
    """Return the seconds of tracing (to XLA's input) and of XLA's compilation, with JAX's caches emptied."""
    jax.clear_caches()
    started = time.perf_counter()
    lowered = lower_step(shape)
    traced = time.perf_counter()
    lowered.compile()
    return traced - started, time.perf_counter() - traced


def _row(shape: Shape, seconds: list[tuple[float, float]]) -> Row:
    return Row(
        f"{shape.n_layers} layers",
        {
            "d_model": shape.d_model,
            "n_layers": shape.n_layers,
            "seq_len": shape.seq_len,
            "batch": shape.batch,
        },
        (
            Figure("tracing", "s", tuple(trace for trace, _ in seconds)),
            Figure("compiling", "s", tuple(compiling for _, compiling in seconds)),
            Figure("total", "s", tuple(sum(both) for both in seconds)),
        ),
    )
