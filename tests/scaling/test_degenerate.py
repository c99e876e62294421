"""Tables that no law can be fitted to: a sentence or a document, printed and valid JSON, never a crash."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lora_jax.errors import LoraJaxError
from lora_jax.files import to_json
from lora_jax.report.fit.figures import draw_fit_figures
from lora_jax.report.fit.rows import run_rows
from lora_jax.report.fit.terminal import print_fit
from lora_jax.scaling.documents import fit_from_document
from lora_jax.scaling.laws import LAWS
from lora_jax.scaling.laws.any_power import any_power
from lora_jax.scaling.one_law import Questions
from lora_jax.scaling.tables.table import RunTable, make_table
from lora_jax.scaling.verdict import Level
from tests.as_documents import fit_law

ALL = {**LAWS, "power": any_power("loss", ["C"])}
QUICK = ("power-c", "kaplan", "critical-batch", "downstream-error", "power")
REST = sorted(set(ALL) - set(QUICK))


def _table(change: Callable[[np.ndarray], np.ndarray], rows: slice = slice(None)) -> RunTable:
    n, d = (x.ravel()[rows] for x in np.meshgrid(np.geomspace(1e6, 1e9, 4), np.geomspace(1e8, 1e11, 3)))
    loss = change(1.7 + 400 * n**-0.34 + 400 * d**-0.28)
    fine = np.random.default_rng(1).permutation(np.geomspace(200, 2e6, len(n)))
    return make_table(
        "t",
        n_params=n,
        n_tokens=d,
        n_steps=d / 2048,
        unique_tokens=d / np.resize([1, 3, 9], len(n)),
        trainable_params=n / 30,
        finetune_tokens=fine,
        loss=loss,
        critical_batch=loss,
        error=loss,
    )


DEGENERATE = {
    "rising": _table(lambda x: 1 / x),
    "steep": _table(lambda x: x**-30.0),
    "constant": _table(lambda x: 0 * x + 2.5),
    "exact": _table(lambda x: x),
    "huge": _table(lambda x: x * 1e150),
    "tiny": _table(lambda x: x * 1e-150),
    "two rows": _table(lambda x: x, slice(0, 7, 6)),
    "one row": _table(lambda x: x, slice(0, 1)),
    "outlier": _table(lambda x: np.where(x > 4.3, 1e9, x)),
}


def _try(name: str, kind: str) -> None:
    table, law = DEGENERATE[kind], ALL[name]
    try:
        at = {v: 10 * float(table.variable(v).max()) for v in law.variables}
        budgets = [1e25] if set(law.variables) == {"N", "D"} and law.splits_budgets else []
        serve = [(2.0, 1e12)] if budgets else []
        document = fit_law(
            table,
            law,
            Questions(n_bootstrap=20, predict=[at], budgets=budgets, serve=serve, figures=kind == "rising"),
        )
    except LoraJaxError as mistake:
        mistakes = str(mistake)
    else:
        _check(document)
        return
    assert mistakes.endswith((".", ")"))


def _check(document: dict[str, Any]) -> None:
    read = json.loads(to_json(document), parse_constant=pytest.fail)
    # An answer that did not converge is not to be believed, which depends on how a processor rounds.
    assert read["certificate"]["verdict"].startswith(tuple(Level))
    out = io.StringIO()
    report = fit_from_document(document)
    print_fit(report, Console(file=out, width=120))
    assert re.search(r"\b(inf|nan|None)\b", out.getvalue()) is None
    run_rows(report)
    import matplotlib.pyplot as plt

    assert [drawing.figure for drawing in draw_fit_figures(report)]
    plt.close("all")


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("name", QUICK)
def test_no_table_is_a_crash(name: str, kind: str) -> None:
    _try(name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("name", REST)
def test_no_table_is_a_crash_for_any_law(name: str, kind: str) -> None:
    _try(name, kind)


@pytest.mark.parametrize("name", ["power-c", "power-n", "chinchilla", "kaplan"])
def test_a_rising_response_is_not_believed(name: str) -> None:
    found = fit_law(DEGENERATE["rising"], LAWS[name], Questions(n_bootstrap=40))
    assert "can only fall: fit a law that may rise" in found["certificate"]["verdict"]


def test_figures_of_a_degenerate_fit_are_written(tmp_path: Path) -> None:
    from lora_jax.report.fit.page import write_fit_report

    for kind in ("steep", "constant"):
        document = fit_law(DEGENERATE[kind], LAWS["power-c"], Questions(n_bootstrap=40, figures=True))
        assert (
            "infinity"
            not in write_fit_report(fit_from_document(document), tmp_path / kind).read_text().lower()
        )
