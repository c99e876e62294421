"""The sweep algebra's laws, and overrides that are typed by the fields they change."""

import dataclasses
import itertools
import math

import pytest

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig, run_id
from lora_jax.errors import LoraJaxError
from lora_jax.runs.sweep import Grid, chain, expand, over, overlay, parse_overrides, product, zipped

BASE = RunConfig(
    model=ModelConfig(d_model=8, n_layers=1, n_heads=1, vocab_size=256, context=128, **LLAMA), n_tokens=10**6
)
A = over("model.d_model", [8, 16, 32])
B = over("n_tokens", [10**6, 2 * 10**6])
C = over("seed", range(4))


# ---- the algebra


@pytest.mark.parametrize("grids", [(), (A,), (A, B), (A, B, C), (A, [], C)])
def test_a_product_has_every_combination_once(grids: tuple[Grid, ...]) -> None:
    got = product(*grids)
    assert len(got) == math.prod(len(grid) for grid in grids)
    expected = [{k: v for part in parts for k, v in part.items()} for parts in itertools.product(*grids)]
    assert got == expected


def test_a_product_is_associative() -> None:
    assert product(product(A, B), C) == product(A, product(B, C)) == product(A, B, C)


def test_a_chain_is_a_concatenation_over_which_a_product_distributes() -> None:
    assert chain() == []
    assert chain(A, B, C) == A + B + C
    assert product(chain(A[:1], A[1:]), B) == chain(product(A[:1], B), product(A[1:], B))


def test_zipped_pairs_points_and_refuses_unequal_lengths() -> None:
    assert zipped(A, over("seed", [1, 2, 3])) == [
        {"model.d_model": 8, "seed": 1},
        {"model.d_model": 16, "seed": 2},
        {"model.d_model": 32, "seed": 3},
    ]
    assert zipped() == []
    with pytest.raises(LoraJaxError, match=r"\[3, 2\]"):
        zipped(A, B)


@pytest.mark.parametrize("join", [product, zipped])
def test_two_grids_must_not_set_one_field(join) -> None:
    with pytest.raises(LoraJaxError, match=r"model\.d_model"):
        join(A, A)


def test_the_algebra_leaves_its_arguments_alone() -> None:
    before = [dict(point) for point in A]
    product(A, B)[0]["seed"] = 5
    zipped(A, over("seed", [1, 2, 3]))[0]["seed"] = 5
    assert before == A


# ---- laying points over a configuration


def test_overlay_changes_what_is_named_and_nothing_else() -> None:
    point = {"model.d_model": 32, "optim.learning_rate": 0.5, "n_tokens": 2 * 10**6}
    got = overlay(BASE, point)
    assert (got.model.d_model, got.optim.learning_rate, got.n_tokens) == (32, 0.5, 2 * 10**6)
    assert overlay(got, point) == got, "laid over twice it is the same"
    back = {"model.d_model": 8, "optim.learning_rate": BASE.optim.learning_rate, "n_tokens": 10**6}
    assert overlay(got, back) == BASE
    assert overlay(BASE, {}) == BASE


def test_overlay_takes_a_whole_part_and_its_fields_together() -> None:
    got = overlay(BASE, {"optim.batch_size": 2, "optim": OptimConfig(batch_size=8, warmup_steps=7)})
    assert got.optim == OptimConfig(batch_size=2, warmup_steps=7)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("model.d_modl", "model.d_model"),
        ("n_token", "n_tokens"),
        ("optim.batchsize", "optim.batch_size"),
        ("optm.batch_size", "optim.batch_size"),
        ("learning_rate", "optim.learning_rate"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest(wrong: str, meant: str) -> None:
    for action in (lambda: overlay(BASE, {wrong: 1}), lambda: parse_overrides([f"{wrong}=1"])):
        with pytest.raises(LoraJaxError, match=f"unknown field '{wrong}' \\(nearest: '{meant}'\\)"):
            action()


@pytest.mark.parametrize(
    ("part", "wrong"), [("optim", "lr"), ("optim", "adam"), ("data", "D"), ("model", "N")]
)
def test_an_unknown_field_like_none_of_its_part_lists_the_part(part: str, wrong: str) -> None:
    fields = [field.name for field in dataclasses.fields(getattr(BASE, part))]
    for action in (
        lambda: overlay(BASE, {f"{part}.{wrong}": 1}),
        lambda: parse_overrides([f"{part}.{wrong}=1"]),
    ):
        with pytest.raises(LoraJaxError, match=rf"unknown field '{part}\.{wrong}' \({part} has: ") as caught:
            action()
        assert str(caught.value).partition(" has: ")[2].removesuffix(").").split(", ") == sorted(fields)


def test_a_number_of_an_optimizer_on_its_own_is_told_where_it_belongs() -> None:
    with pytest.raises(LoraJaxError, match=r"write optim\.optimizer=muon,beta=0\.9"):
        parse_overrides(["optim.optimizer.beta=0.9"])
    assert parse_overrides(["optim.optimizer=muon,beta=0.9"]).keys() == {"optim.optimizer"}


def test_a_field_of_a_number_is_refused() -> None:
    with pytest.raises(LoraJaxError, match=r"seed\.x"):
        overlay(BASE, {"seed.x": 1})


def test_expand_keeps_each_different_run_once_and_in_order() -> None:
    twice = chain(product(A, B), product(B, A), over("seed", [0, 1, 1]))
    runs = expand(BASE, twice)
    assert len(runs) == len({run_id(run) for run in runs}) == 7
    assert runs[:6] == [overlay(BASE, point) for point in product(A, B)]
    assert runs[6].seed == 1
    assert expand(BASE, []) == []


# ---- overrides on the command line


def parse_one(text: str) -> object:
    [value] = parse_overrides([text]).values()
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed=3", 3),
        ("n_tokens=1_000_000", 10**6),
        ("optim.learning_rate=3e-3", 3e-3),
        ("optim.weight_decay=0", 0.0),
        ("model.tied_head=False", False),
        ("model.bias=true", True),
        ("model.n_kv_heads=none", None),
        ("model.n_kv_heads=2", 2),
        ("data.unique_tokens=5_000", 5000),
        ("model.norm=rmsnorm", "rmsnorm"),
        ("optim.schedule=cosine", "cosine"),
        ("data.tokenizer=a=b.json", "a=b.json"),
        ("data.sources=sotu", (SourceConfig(name="sotu"),)),
        ("data.sources=a@3,b", (SourceConfig(name="a", weight=3.0), SourceConfig(name="b"))),
    ],
)
def test_an_override_has_the_type_of_its_field(text: str, value: object) -> None:
    got = parse_one(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed=x", "seed is 'x', but it must be a whole number from 0"),
        ("n_tokens=1.5", "n_tokens is '1.5', but it must be a whole number from 1"),
        ("seed=", "seed is ''"),
        ("model.n_kv_heads=few", "n_kv_heads is 'few', but it must be a whole number"),
        ("optim.learning_rate=fast", "is 'fast', but it must be a number from 1e-20 to 1e.30"),
        ("optim.learning_rate=nan", "is nan, but it must be a number"),
        ("optim.learning_rate=inf", "is inf, but it must be a number"),
        ("model.bias=1", "it wants true or false"),
        ("model.norm=rmsnrm", r"wants one of .*nearest: 'rmsnorm'"),
        ("data.sources=a@heavy", "data.sources, the weight of a, is 'heavy'"),
        ("model=8", "it wants its fields one by one"),
        ("seed", "an override is field=value"),
        ("--seed=3", "unknown field '--seed'"),
    ],
)
def test_a_bad_override_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        parse_overrides([text])


def test_every_plain_field_can_be_overridden_with_its_own_value() -> None:
    def paths(config: object, path: str = "") -> list[tuple[str, object]]:
        found: list[tuple[str, object]] = []
        for field in dataclasses.fields(config):  # pyright: ignore[reportArgumentType] - any dataclass
            value = getattr(config, field.name)
            if dataclasses.is_dataclass(value):
                found += paths(value, f"{path}{field.name}.")
            elif not field.name.endswith("sources"):
                found.append((path + field.name, value))
        return found

    plain = paths(BASE)
    assert len(plain) > 30
    for name, value in plain:
        assert overlay(BASE, parse_overrides([f"{name}={value}"])) == BASE, name


def test_an_override_may_break_what_the_configuration_promises() -> None:
    with pytest.raises(LoraJaxError, match=r"d_model must be a multiple of n_heads"):
        overlay(BASE, parse_overrides(["model.n_heads=3"]))
    with pytest.raises(LoraJaxError, match=r"warmup_steps"):
        overlay(BASE, parse_overrides(["n_tokens=100"]))
    assert overlay(BASE, parse_overrides(["data.sources=sotu"])).data == DataConfig()
