"""Numbers of configurations: each has a range, and whatever is given there is held to it."""

import dataclasses
import importlib
import math
import pkgutil
import typing
from numbers import Real
from types import ModuleType
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lora_jax.config import ModelConfig, RopeScaling, RunConfig, TaskConfig
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneConfig, FinetuneSweep
from lora_jax.generation.sampling import Sampling
from lora_jax.peft import methods
from lora_jax.peft.methods.combined import Combined
from lora_jax.peft.methods.lora import LoRA
from lora_jax.prompting.incontext.config import (
    BackwardPlan,
    InContextConfig,
    ShotPlan,
    TaskPlan,
    TunePlan,
)
from lora_jax.prompting.prompt import Prompt
from lora_jax.prompting.shots import Shots
from lora_jax.ranges import EXACT, Range, field_kinds, show, split_optional, whole
from lora_jax.runs.sweep import overlay, parse_overrides
from lora_jax.scaling.tables.counting import Shape
from tests.hostile import NUMBERS, TEXTS

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
MANY = settings(derandomize=True, deadline=None, max_examples=3000)
PLACES = (
    "config",
    "model_config",
    "finetuning.config",
    "prompting.incontext.config",
    "prompting.shots",
    "prompting.prompt",
    "generation.beam",
    "generation.sampling",
    "scaling.tables.counting",
)
INNER = {"SamplingArrays", "Search"}  # arrays of compiled programs; beam's own Shape is one too

MODEL = ModelConfig(d_model=64, n_layers=2, n_heads=2, vocab_size=256, context=256)
RUN = RunConfig(model=MODEL, n_tokens=10**9)
LORA: dict[str, Any] = {"LoRA": LoRA()}
SWEEP = FinetuneSweep(base="x", task=TaskConfig(), methods=LORA)
# What cannot be made of defaults alone.
REQUIRED: dict[Any, dict[str, Any]] = {
    ModelConfig: dataclasses.asdict(MODEL) | {"rope_scaling": None},
    RopeScaling: dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192),
    RunConfig: dict(model=MODEL, n_tokens=10**9),
    FinetuneConfig: dict(base="x", task=TaskConfig(), method=LoRA(), label="LoRA"),
    FinetuneSweep: dict(base="x", task=TaskConfig(), methods=LORA, rates={"LoRA": (1e-3,)}),
    TaskPlan: dict(name="sst2"),
    ShotPlan: dict(base="x"),
    TunePlan: dict(base="x", methods=LORA, n_train=(8, None), rates={"LoRA": (1e-3,)}),
    BackwardPlan: dict(base="x", methods=LORA),
    InContextConfig: dict(tasks={"SST-2": TaskPlan(name="sst2")}),
    Shots: dict(k=2),
    Prompt: dict(template="{text} is", answers=("a", "b")),
    Shape: dict(n_layers=2, d_model=64),
    Combined: dict(methods=(LoRA(),)),
}


def modules() -> list[ModuleType]:
    names = [f"lora_jax.{place}" for place in PLACES]
    names += [f"{methods.__name__}.{info.name}" for info in pkgutil.iter_modules(methods.__path__)]
    return [importlib.import_module(name) for name in names]


def is_configuration(kind: Any, module: ModuleType) -> bool:
    if not isinstance(kind, type) or kind.__module__ != module.__name__:
        return False
    if kind.__name__.startswith("_") or kind.__name__ in INNER:
        return False
    if kind.__name__ == "Shape" and module.__name__.endswith("beam"):
        return False
    return dataclasses.is_dataclass(kind) or kind is Sampling


CONFIGURATIONS = [
    kind for module in modules() for kind in vars(module).values() if is_configuration(kind, module)
]


def leaves(kind: Any) -> list[Any]:
    """Return the kinds that an annotation is made of, those with a range whole."""
    kind, _ = split_optional(kind)
    if typing.get_origin(kind) in (tuple, dict, list):
        return [leaf for part in typing.get_args(kind) if part is not Ellipsis for leaf in leaves(part)]
    return [kind]


NUMBER_FIELDS = [
    (owner, name)
    for owner in CONFIGURATIONS
    for name, kind in field_kinds(owner).items()
    if any(typing.get_origin(leaf) is Annotated for leaf in leaves(kind))
]


def test_the_configurations_are_found() -> None:
    assert {RunConfig, RopeScaling, FinetuneConfig, InContextConfig, Sampling, LoRA, Shape} <= {
        *CONFIGURATIONS
    }
    assert {BackwardPlan, ShotPlan, TunePlan, Prompt, Shots} <= {*CONFIGURATIONS}
    assert {*methods.find_methods().values()} <= {*CONFIGURATIONS}
    assert len(NUMBER_FIELDS) > 80


@pytest.mark.parametrize("owner", CONFIGURATIONS, ids=lambda owner: owner.__name__)
def test_every_number_has_a_range(owner: type) -> None:
    for name, kind in field_kinds(owner).items():
        for leaf in leaves(kind):
            assert leaf not in (int, float, complex), f"{owner.__name__}.{name} is a number without a range"
            if typing.get_origin(leaf) is Annotated:
                inner, within = typing.get_args(leaf)
                assert isinstance(within, Range)
                assert within.whole == (inner is int), f"{owner.__name__}.{name}"
                assert math.isfinite(within.low)
                assert math.isfinite(within.high)


def wrap(kind: Any, value: Any) -> Any:
    """Return a number as the field holds it: by itself, in a tuple, beside a name."""
    kind, _ = split_optional(kind)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        return {"LoRA": wrap(parts[1], value)}
    if origin is tuple:
        return tuple(wrap(part, value) for part in parts if part is not Ellipsis)
    return "q" if kind is str else value


def make(owner: Any, name: str, value: Any) -> Any:
    fields = REQUIRED.get(owner, {}) | {name: wrap(field_kinds(owner)[name], value)}
    made = owner(**fields)
    if owner is Sampling:
        made.check()
    return made


def numbers_in(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [leaf for inner in value for leaf in numbers_in(inner)]
    return [] if value is None or isinstance(value, str) else [value]


def hold(owner: Any, name: str, value: Any) -> None:
    """Ask for a finite number, kept as it was given, or a sentence with the field and its range."""
    ranges = [typing.get_args(leaf)[1] for leaf in leaves(field_kinds(owner)[name]) if leaf is not str]
    try:
        made = make(owner, name, value)
    except LoraJaxError as error:
        words = str(error)
        assert "\n" not in words
        assert len(words) < 300
        is_number = not isinstance(value, bool) and isinstance(value, Real)
        if not is_number or not any(within.holds(value) for within in ranges):  # pyright: ignore[reportArgumentType]
            assert name in words, words
            assert any(within.words in words for within in ranges), words
        return
    for kept in numbers_in(getattr(made, name)):
        assert type(kept) in (int, float)
        assert math.isfinite(kept)
        assert kept == value
        assert any(within.low <= kept <= within.high for within in ranges)


@given(st.sampled_from(NUMBER_FIELDS), NUMBERS)
@example((RunConfig, "seed"), -1)
@example((RunConfig, "n_tokens"), 10**400)
@example((ModelConfig, "n_layers"), 10**6)
@example((Sampling, "temperature"), math.nan)
@SETTINGS
def test_any_value_is_a_number_in_range_or_a_sentence(field: tuple[Any, str], value: Any) -> None:
    hold(*field, value)


@pytest.mark.slow
@given(st.sampled_from(NUMBER_FIELDS), NUMBERS)
@MANY
def test_any_value_is_a_number_in_range_or_a_sentence_at_length(field: tuple[Any, str], value: Any) -> None:
    hold(*field, value)


@pytest.mark.parametrize("field", NUMBER_FIELDS, ids=lambda field: f"{field[0].__name__}.{field[1]}")
def test_no_number_field_takes_what_is_none(field: tuple[Any, str]) -> None:
    for value in (math.nan, math.inf, -math.inf, 1e308, 10**400, -(10**400), "8", True, [3], 1j):
        with pytest.raises(LoraJaxError, match=field[1]):
            make(*field, value)


# ---- the command line's own way in


def override_paths(owner: Any, path: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, kind in field_kinds(owner).items():
        if dataclasses.is_dataclass(kind):
            found += override_paths(kind, f"{path}{name}.")
        elif typing.get_origin(split_optional(kind)[0]) is Annotated:
            found.append((path + name, typing.get_args(split_optional(kind)[0])[1]))
    return found


OVERRIDES = [(base, *path) for base in (RUN, SWEEP) for path in override_paths(type(base))]


@given(st.sampled_from(OVERRIDES), TEXTS)
@example((RUN, "seed", whole(0, 2**32 - 1)), "9" * 5000)
@SETTINGS
def test_any_override_is_a_number_in_range_or_a_sentence(override: tuple[Any, str, Range], text: str) -> None:
    base, path, within = override
    try:
        changed = overlay(base, parse_overrides([f"{path}={text}"], type(base)))
    except LoraJaxError as error:
        words = str(error)
        assert "\n" not in words
        assert len(words) < 300
        assert path.rpartition(".")[2] in words
        return
    value = changed
    for name in path.split("."):
        value = getattr(value, name)
    if text.lower() == "none":
        assert value is None
    else:
        assert math.isfinite(value)
        assert within.holds(value)


# ---- the mechanism


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**9), st.booleans(), st.booleans(), st.booleans())
@SETTINGS
def test_ends_belong_unless_they_are_left_out(
    low: int, span: int, above: bool, below: bool, is_whole: bool
) -> None:
    high = low + span + 2
    within = Range(low, high, is_whole, above, below)
    assert within.holds(low) is not above
    assert within.holds(high) is not below
    assert within.holds(low + 1)
    assert not within.holds(low - 1)
    assert not within.holds(high + 1)
    assert not within.holds(math.nan)
    for end in (low, high):
        assert f"{end:,}" in within.words


def test_a_class_without_ranges_is_a_mistake_of_the_class() -> None:
    from lora_jax.ranges import check_fields

    @dataclasses.dataclass
    class Bare:
        n: int = 3

    with pytest.raises(TypeError, match="n is a number without a range"):
        check_fields(Bare())


def test_numbers_of_numpy_become_plain() -> None:
    import numpy as np

    made = dataclasses.replace(RUN, n_tokens=np.int64(10**9), seed=np.uint8(3))
    assert made == dataclasses.replace(RUN, seed=3)
    assert (type(made.n_tokens), type(made.seed)) == (int, int)
    assert dataclasses.replace(SWEEP, seeds=[0, 1]).seeds == (0, 1)


@given(NUMBERS)
@example(10**5000)
@example([10**5000])
@SETTINGS
def test_whatever_is_given_can_be_shown(value: Any) -> None:
    assert len(show(value)) < 80
    if type(value) is int and abs(value) < EXACT:
        assert show(value) == str(value)
