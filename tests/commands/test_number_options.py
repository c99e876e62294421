"""Options that hold numbers: every one has a range, and any text gives a result or one sentence, soon."""

import argparse
import contextlib
import csv
import importlib.util
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lora_jax import cli
from lora_jax.commands.number_options import Number, Quantity
from lora_jax.errors import LoraJaxError
from tests.hostile import TEXTS

ROOT = Path(__file__).parents[2]
LONGEST = 20.0  # seconds of one call, on a busy machine
SETTINGS = settings(derandomize=True, deadline=None, max_examples=150)
COUNTS = settings(derandomize=True, deadline=None, max_examples=50)
FEW = settings(derandomize=True, deadline=None, max_examples=12)
MANY = settings(derandomize=True, deadline=None, max_examples=100)
# Options whose text is no single number. Those with numbers in them are tried below, through the command.
WITH_NUMBERS = {
    "--fix", "--bound", "--judge", "--predict", "--serve", "--crossover", "--versus", "--target", "--where",
    "--map", "--lanes", "--save-at", "--widths", "--depths", "--steps", "--mesh", "--wide", "shape",
    "overrides",
}  # fmt: skip
NAMES = {
    "table", "rival", "folder", "config", "model", "models", "task", "adapter", "name", "law", "--adapter",
    "--answers", "--base", "--baseline", "--by", "--cluster", "--data", "--device", "--each", "--entity",
    "--flops-column", "--json", "--law", "--laws", "--like",
    "--loss-unit",
    "--method", "--n-column", "--objective", "--of", "--only", "--out", "--prior", "--project", "--prompt",
    "--response", "--seconds", "--shared",
    "--slurm", "--stage", "--stop", "--table", "--template", "--unfinished", "--weights", "--against",
}  # fmt: skip


class Captured(BaseException):
    """Carries a parser out of an experiment's main()."""


def experiment_parsers() -> Iterator[argparse.ArgumentParser]:
    def capture(self: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Captured(self)

    for path in sorted((ROOT / "experiments").glob("*.py")):
        if path.stem == "quickstart":  # scaling, with a config
            continue
        spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with pytest.MonkeyPatch.context() as patch:
            for name in ("parse_args", "parse_known_args", "parse_intermixed_args"):
                patch.setattr(argparse.ArgumentParser, name, capture)
            with pytest.raises(Captured) as caught:
                module.main([])
        yield caught.value.args[0]


def all_actions() -> list[tuple[str, argparse.Action]]:
    parser, _ = cli._build_parser()
    [commands] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    parsers = [*commands.choices.items()]
    parsers += [(str(number), found) for number, found in enumerate(experiment_parsers())]
    return [(name, action) for name, found in parsers for action in found._actions if action.nargs != 0]


ACTIONS = all_actions()
NUMBERS = [(name, action) for name, action in ACTIONS if isinstance(action.type, Number)]


def test_every_option_is_a_number_with_a_range_or_known_to_be_none() -> None:
    assert len(NUMBERS) > 25
    for command, action in ACTIONS:
        label = action.option_strings[0] if action.option_strings else action.dest
        assert action.type not in (int, float), f"{command} {label} is a number without a range"
        if isinstance(action.type, Number):
            assert action.type.option == label, "the sentence names the option"
            assert math.isfinite(action.type.within.low)
            assert math.isfinite(action.type.within.high)
            defaults = action.default if isinstance(action.default, list) else [action.default]
            assert all(d is None or action.type.within.holds(d) for d in defaults)
        elif action.choices is None:
            assert label in WITH_NUMBERS | NAMES, f"{command} {label}: is it a number? then add_number"


@given(st.sampled_from(NUMBERS), TEXTS)
@SETTINGS
def test_any_text_is_a_number_in_range_or_a_sentence(option: tuple[str, Any], text: str) -> None:
    kind = option[1].type
    try:
        value = kind(text)
    except LoraJaxError as error:
        words = str(error)
        assert words.startswith(f"{kind.option} is ")
        assert len(words) < 250
        assert "\n" not in words
        assert kind.within.words in words or (isinstance(kind, Quantity) and "must be a number" in words)
        return
    assert type(value) is (int if kind.within.whole else float)
    assert kind.within.holds(value)
    assert math.isfinite(value)


# ---- through the command


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 20 runs of a known law with 1 % noise."""
    path, rng = tmp_path_factory.mktemp("small") / "small.csv", np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["n_params", "n_tokens", "flops", "loss"])
        for n in np.geomspace(1e6, 1e9, 5):
            for d in np.geomspace(1e8, 1e10, 4):
                loss = (1.7 + 400 * n**-0.34 + 410 * d**-0.28) * np.exp(0.01 * rng.standard_normal())
                writer.writerow([f"{n:.0f}", f"{d:.0f}", f"{6 * n * d:.6g}", f"{loss:.6g}"])
    return path


def finite(text: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {text[:200]}")

    json.loads(text, parse_constant=refuse)


def answer(*arguments: object) -> tuple[int, str]:
    """Run the command in this process; a stack trace is an error here, and so is a long wait."""
    out, err, begun = io.StringIO(), io.StringIO(), time.monotonic()
    given = [str(a) for a in arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(given)
        except SystemExit as end:  # argparse: the option lacks its value
            status = end.code
    assert time.monotonic() - begun < LONGEST, given
    said = err.getvalue()
    assert status in (0, 2), (given, status, said)
    if status == 2:
        assert out.getvalue() == "", given
        assert len([line for line in said.splitlines() if line.startswith("lora-jax")]) == 1, said
        assert len(said) < 1200, said
    return int(status), out.getvalue()


FIT: dict[str, Callable[[str], list[str]]] = {
    "fix": lambda t: [f"--fix=E={t}"],
    "judge": lambda t: [f"--judge=E={t},A=400,B=410,alpha=.34,beta=.28"],
    "judge exponent": lambda t: [f"--judge=E=1.7,A=400,B=410,alpha={t},beta=.28"],
    "fix exponent": lambda t: [f"--fix=alpha={t}"],
    "bound": lambda t: [f"--bound=E={t}:"],
    "bound above": lambda t: [f"--bound=alpha=:{t}"],
    "predict": lambda t: [f"--predict=N={t},D=1e10"],
    "predict D": lambda t: [f"--predict=N=1e9,D={t}"],
    "budget": lambda t: [f"--budget={t}"],
    "serve loss": lambda t: [f"--serve={t},1e12"],
    "serve tokens": lambda t: [f"--serve=2.0,{t}"],
    "versus": lambda t: [f"--versus=E={t},A=400,B=410,alpha=.34,beta=.28"],
    "delta": lambda t: [f"--delta={t}"],
    "seed": lambda t: [f"--seed={t}"],
    "quantile": lambda t: ["--objective=quantile", f"--quantile={t}"],
    "drop": lambda t: [f"--drop-worst={t}"],
    "where": lambda t: [f"--where=D>={t}"],
    "map": lambda t: [f"--map=n_tokens=n_tokens*{t}"],
}


def try_fit(small: Path, name: str, text: str) -> None:
    status, out = answer("fit", small, "--law", "chinchilla", *FIT[name](text), "--bootstrap=20", "--json")
    if status == 0:
        finite(out)


@given(st.sampled_from(sorted(FIT)), TEXTS)
@example("predict", "1e308")
@example("serve loss", "1.2")
@FEW
def test_a_fit_takes_any_text_for_a_number(small: Path, name: str, text: str) -> None:
    try_fit(small, name, text)


@pytest.mark.slow
@given(st.sampled_from(sorted(FIT)), TEXTS)
@MANY
def test_a_fit_takes_any_text_for_a_number_at_length(small: Path, name: str, text: str) -> None:
    try_fit(small, name, text)


DESIGN = ("--flops", "--target-flops", "--noise", "--max-runs", "--max-tokens", "--target=N=1e9,D")
SHAPE = ("d_model", "n_layers", "n_heads", "vocab_size", "context", "head_dim", "d_ff")


@given(st.sampled_from(SHAPE), TEXTS)
@COUNTS
def test_a_count_takes_any_text_for_a_number(name: str, text: str) -> None:
    fields = {"d_model": "64", "n_layers": "2", "vocab_size": "256", name: text}
    status, out = answer("count", *(f"{k}={v}" for k, v in fields.items()), "--json")
    if status == 0:
        finite(out)


@pytest.mark.slow
@given(st.sampled_from(DESIGN), TEXTS)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_a_design_takes_any_text_for_a_number(name: str, text: str) -> None:
    given = {"--flops": "1e20", name: text}
    status, out = answer("design", *(f"{k}={v}" for k, v in given.items()), "--json")
    if status == 0:
        finite(out)


# ---- what hung, through the plan


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.n_layers=10000"],
        ["model.d_model=16777216", "model.n_heads=16"],
        ["model.vocab_size=16777216"],
        ["optim.batch_size=16777216", "n_tokens=1000000000000000000"],
        ["n_tokens=1000000000000000000"],
    ],
)
def test_a_plan_of_any_size_comes_soon(overrides: list[str], tmp_path: Path) -> None:
    config = tmp_path / "one.py"
    config.write_text(
        '"""One run."""\n\nfrom lora_jax.config import ModelConfig, RunConfig\n\n\ndef runs():\n'
        "    model = ModelConfig(d_model=32, n_layers=2, n_heads=2, vocab_size=256, context=128)\n"
        "    return [RunConfig(model=model, n_tokens=1_000_000)]\n"
    )
    status, out = answer("plan", config, *overrides)
    assert status == 0
    assert "1 run, 0 finished" in out
    assert "inf" not in out
    assert "nan" not in out
