"""One forward pass of a base, of merged LoRA, of adapters and of LoRA beside its base, each trial in turns.

The form of Table 1 of the LoRA paper (Hu et al. 2021, arXiv 2106.09685). A trial runs every variant once, in
an order of its own, so that what else the machine does falls on all of them alike and a trial's times make
pairs; right before a timed pass the same pass runs untimed, so that none finds the caches as another left
them.
"""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.latency_shapes import Size, choose_method, count_added
from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.hooks import NO_HOOKS, Hooks
from lora_jax.model.transformer import compute_dtype, forward
from lora_jax.params import Params, combine, count, init
from lora_jax.peft.merge import merge
from lora_jax.peft.method import Adapted, Method, MethodConfig, adapt
from lora_jax.report.kit.numbers import format_count, format_seconds
from lora_jax.timing import Say, time_call

BASE, MERGED, UNMERGED = "base", "merged LoRA", "unmerged LoRA"
ADAPTER_L, ADAPTER_H = "AdapterL", "AdapterH"
VARIANTS = (BASE, MERGED, ADAPTER_L, ADAPTER_H, UNMERGED)
N_UNTIMED = 3  # passes right before a timed one; after one, what is in the caches is not yet its own
NOISE_STD = 0.02  # of what starts at zero: B of LoRA, W_up of adapters
LINE_SECONDS = 10.0  # between two lines of progress
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}  # of the largest logit, between merged and unmerged

Pass = Callable[[], jax.Array]  # one forward pass to its end


@dataclass(frozen=True)
class Variant:
    """What was timed. method: None for the base; seconds: of every trial, in order."""

    name: str
    method: MethodConfig | None
    n_added: int
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Timed:
    """All variants at one size."""

    size: Size
    variants: tuple[Variant, ...]

    def __getitem__(self, name: str) -> Variant:
        return next(variant for variant in self.variants if variant.name == name)


def measure_latency(
    model: ModelConfig, sizes: Sequence[Size], n_trials: int, seed: int, say: Say
) -> tuple[Timed, ...]:
    """Time every variant at every size. seed: of weights, tokens and the order in each trial.

    Raises:
        LoraJaxError: the device's memory does not hold the passes, or merged LoRA computes something else.
    """
    say(f"latency: compiling {len(VARIANTS) - 1} programs at {len(sizes)} sizes")
    try:
        prepared = [prepare(model, size, seed) for size in sizes]
        smallest = min(range(len(sizes)), key=lambda number: sizes[number].tokens)
        check_merged(prepared[smallest][0], str(compute_dtype(model)))
        costs = [sum(map(time_call, passes.values())) * (1 + N_UNTIMED) for passes, _ in prepared]
        ahead = n_trials * sum(costs)
        say(f"latency: {n_trials} trials of {len(VARIANTS)} variants, about {format_seconds(ahead)}")
        timed = []
        for number, (size, (passes, methods)) in enumerate(zip(sizes, prepared, strict=True)):
            after = n_trials * sum(costs[number + 1 :])
            words = f"latency {number + 1}/{len(sizes)}: {size.label}"
            seconds = run_trials(passes, n_trials, [seed, number], report(say, words, n_trials, after))
            timed.append(Timed(size, tuple(describe(name, methods, model, seconds[name]) for name in passes)))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise LoraJaxError(
            f"a pass of {max(size.tokens for size in sizes)} tokens through"
            f" {format_count(count(declare(model)))} parameters does not fit this device's memory: take a"
            " smaller model and shorter sequences by a larger --divide."
        ) from error
    return tuple(timed)


def run_trials(
    passes: Mapping[str, Pass], n_trials: int, seed: Sequence[int], tell: Callable[[int], None]
) -> dict[str, list[float]]:
    """Run every pass once a trial, in an order drawn for each trial; return the seconds by name.

    tell: called after each trial with how many are done.
    """
    draw, names = np.random.default_rng(seed), list(passes)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for trial in range(n_trials):
        for place in draw.permutation(len(names)):
            name = names[place]
            for _ in range(N_UNTIMED):
                passes[name]()
            seconds[name].append(time_call(passes[name]))
        tell(trial + 1)
    return seconds


def report(say: Say, words: str, n_trials: int, seconds_after: float) -> Callable[[int], None]:
    """Return what says where the trials stand, some seconds after it last did, and how long is left."""
    started = last = time.perf_counter()

    def tell(n_done: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last < LINE_SECONDS and n_done < n_trials:
            return
        last = now
        left = (now - started) / n_done * (n_trials - n_done) + seconds_after
        say(f"{words}, trial {n_done} of {n_trials}" + (f", {format_seconds(left)} left" if left else ""))

    return tell


def prepare(
    model: ModelConfig, size: Size, seed: int
) -> tuple[dict[str, Pass], dict[str, MethodConfig | None]]:
    """Return a compiled pass of every variant, run once, and its method; base and merged are one program."""
    base = init(declare(model), seed)
    tokens_BT = jax.random.randint(
        jax.random.key(seed), (size.batch, size.seq_len), 0, model.vocab_size, jnp.int32
    )
    lora = choose_method("LoRA", model, size.share_added)
    plain, adapted = compile_pass(model, NO_HOOKS), adapt_and_fill(base, lora.build(model), seed)
    passes = {
        BASE: bind(plain, base, tokens_BT, model),
        MERGED: bind(plain, merge(model, base, adapted, lora).params, tokens_BT, model),
    }
    methods: dict[str, MethodConfig | None] = {BASE: None, MERGED: lora}
    for name in (ADAPTER_L, ADAPTER_H):
        methods[name] = method = choose_method(name, model, size.share_added)
        built = method.build(model)
        weights = combine(*adapt_and_fill(base, built, seed))
        passes[name] = bind(compile_pass(model, built.hooks), weights, tokens_BT, model)
    methods[UNMERGED] = lora
    beside = compile_pass(model, lora.build(model).hooks)
    passes[UNMERGED] = bind(beside, combine(*adapted), tokens_BT, model)
    for one in passes.values():
        one()
    return passes, methods


def compile_pass(model: ModelConfig, hooks: Hooks) -> Callable[[Params, jax.Array], jax.Array]:
    return jax.jit(lambda params, tokens_BT: forward(model, params, tokens_BT, hooks))


def bind(
    program: Callable[[Params, jax.Array], jax.Array],
    params: Params,
    tokens_BT: jax.Array,
    model: ModelConfig,
) -> Pass:
    """Return a pass on weights of its own in the dtype it computes in, as one serves them.

    Of their own: what several passes share, such as the base's weights, would be in the caches more often.
    """
    dtype = compute_dtype(model)
    held = {path: jnp.array(weight, dtype) for path, weight in params.items()}
    return lambda: jax.block_until_ready(program(held, tokens_BT))


def adapt_and_fill(base: Params, method: Method, seed: int) -> Adapted:
    """Return a base with a method's weights, noise in place of zeros: B of LoRA, W_up of adapters, biases.

    As it starts a method adds nothing, and merged weights would be the base's.
    """
    adapted, specs = adapt(base, method, seed), method.specs

    def draw_noise(path: str) -> jax.Array:
        noise = np.random.default_rng([seed, zlib.crc32(path.encode())]).normal(size=specs[path].shape)
        return jnp.asarray(NOISE_STD * noise, jnp.float32)

    filled = {
        path: draw_noise(path) if specs[path].std == specs[path].mean == 0 else weight
        for path, weight in adapted.trainable.items()
    }
    return Adapted(filled, adapted.frozen)


def check_merged(passes: Mapping[str, Pass], dtype: str) -> None:
    """Refuse to time a merged LoRA whose logits are not those of the same LoRA beside its base."""
    merged = passes[MERGED]()
    apart = float(jnp.abs(merged - passes[UNMERGED]()).max() / jnp.abs(merged).max())
    if not apart <= TOLERANCE[dtype]:
        raise LoraJaxError(
            f"merged and unmerged LoRA differ by {apart:.2g} of the largest logit, at most"
            f" {TOLERANCE[dtype]:g} is rounding: they do not compute the same, which is a bug, and no time of"
            " theirs means anything."
        )


def describe(
    name: str, methods: Mapping[str, MethodConfig | None], model: ModelConfig, seconds: Sequence[float]
) -> Variant:
    method = methods[name]
    n_added = 0 if method is None or name == MERGED else count_added(method, model)
    return Variant(name, method, n_added, tuple(seconds))
