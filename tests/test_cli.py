"""The `lora-jax` command: as a user runs it, and its `main` called from here where no process is needed."""

import contextlib
import csv
import importlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lora_jax.cli import main

if TYPE_CHECKING:
    from lora_jax.runs.record import RunRecord

ROOT = Path(__file__).parents[1]
SIZES = [2.0**k * 1e4 for k in range(6)]
TOKENS = [4.0**k * 1e6 for k in range(5)]


def lora_jax(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lora_jax.cli", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
    )


def call_main(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Return what `lora_jax` does, from this process: a process takes a second before it says anything."""
    out, err = io.StringIO(), io.StringIO()
    words = [str(word) for word in arguments]
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def check_mistake(done: subprocess.CompletedProcess[str], *words: object) -> None:
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""
    for word in words:
        assert str(word) in done.stderr


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's CSV with column names of their own, on a law of exponents 0.3 and 0.25."""
    path = tmp_path_factory.mktemp("table") / "theirs.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Model Size", "Training Tokens", "final loss", "comment"])
        for i, n in enumerate(SIZES):
            for j, d in enumerate(TOKENS):
                wobble = 1 + 1e-3 * math.sin(7 * i + 3 * j)
                writer.writerow([n, d, (1.5 + 40 * n**-0.3 + 60 * d**-0.25) * wobble, "x"])
    return path


MAP = ["--map", "n_params=Model Size", "n_tokens=Training Tokens", "loss=final loss"]


# ---- help


def test_help_comes_at_once_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lora_jax.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "print('LOADED', sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text, loaded = done.stdout.split("LOADED ")
    heavy = {"jax", "numpy", "scipy", "matplotlib", "rich", "wandb", "orbax", "flax", "optax", "tokenizers"}
    assert not heavy & set(loaded.strip("[]\n").replace("'", "").split(", "))
    for name in ("fit", "report", "plan"):
        assert f"    {name} " in text


def test_help_takes_less_than_a_second() -> None:
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        assert lora_jax("--help").returncode == 0
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1  # 0.1 s on an idle machine


def test_version() -> None:
    assert lora_jax("--version").stdout == f"lora-jax {importlib.import_module('lora_jax').__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fitt"], ["unknown command 'fitt'", "nearest: 'fit'"]),
        (["quikstart"], ["nearest: 'quickstart'"]),
        (["quickstart"], ["an experiment, not a command", "./launch.sh quickstart", "scaling quickstart"]),
    ],
)
def test_an_unknown_command_is_one_line(arguments: list[str], words: list[str]) -> None:
    check_mistake(lora_jax(*arguments), *words)


@pytest.mark.parametrize("arguments", [[], ["fit"], ["--nope", "laws"]])
def test_a_wrong_call_shows_the_usage(arguments: list[str]) -> None:
    done = lora_jax(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: lora-jax")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "x.csv", "--budgt", "1e15"], ["fit does not take '--budgt 1e15' (nearest: '--budget')"]),
        (["plan", "x.py", "--qqqq"], ["plan does not take '--qqqq': `lora-jax plan --help`"]),
        (["fit", "x.csv", "seed=3"], ["fit does not take 'seed=3': `lora-jax fit --help`"]),
    ],
)
def test_words_that_a_command_does_not_take_are_one_line(arguments: list[str], words: list[str]) -> None:
    check_mistake(lora_jax(*arguments), *words)


# ---- fit


def test_the_program_ends_as_main_does(table: Path) -> None:
    """Most calls below are of `main`."""
    for arguments in (["fit", "none.csv"], ["fit", table, "--bootstrap", "20", *MAP], ["plan", "none.py"]):
        program, called = lora_jax(*arguments), call_main(*arguments)
        assert (program.returncode, program.stdout) == (called.returncode, called.stdout)
        assert program.stderr == called.stderr


def test_fit_reads_anybodys_csv(table: Path) -> None:
    done = lora_jax("fit", table, "--json", "--bootstrap", "20", *MAP)
    assert done.returncode == 0, done.stderr
    fits = json.loads(done.stdout, parse_constant=pytest.fail)  # NaN and Infinity are not JSON
    joint = next(fit for fit in fits["fits"] if fit["key"] == "L(N,D)")
    assert joint["params"]["alpha"]["value"] == pytest.approx(0.3, abs=0.03)
    assert joint["params"]["beta"]["value"] == pytest.approx(0.25, abs=0.03)
    assert fits["n_runs"] == len(SIZES) * len(TOKENS)
    assert list(table.parent.iterdir()) == [table], "nothing is written beside somebody's table"


def test_fit_prints_tables_and_writes_where_it_is_told(table: Path, tmp_path: Path) -> None:
    done = call_main("fit", table, "--bootstrap", "20", "--out", tmp_path / "new" / "place", *MAP)
    assert done.returncode == 0, done.stderr
    assert "alpha_N" in done.stdout
    fits = json.loads((tmp_path / "new" / "place" / "fits.json").read_text(), parse_constant=pytest.fail)
    assert fits["exponents"].keys() == {"alpha_N", "alpha_D", "alpha_C"}


def test_fit_of_a_results_folder_writes_into_it_and_renews_its_table(tmp_path: Path) -> None:
    folder = make_results(tmp_path / "results")
    whole = (folder / "runs.csv").read_text()
    for spoil in (lambda path: path.unlink(), lambda path: path.write_text(whole[:200])):
        spoil(folder / "runs.csv")
        for path in (folder / "runs").iterdir():
            os.utime(path)  # as after a kill between a record and the table
        done = call_main("fit", folder, "--bootstrap", "20")
        assert done.returncode == 0, done.stderr
        assert (folder / "runs.csv").read_text() == whole
        assert json.loads((folder / "fits.json").read_text())["n_runs"] == len(SIZES) * len(TOKENS)


def list_files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", ["scaling_cpu", "peft_sst2"])
def test_fit_leaves_what_git_keeps_as_it_is(name: str, tmp_path: Path) -> None:
    """Of a published folder it prints; what it found is written where --out says."""
    for command in (["init", "-q"], ["add", "."]):
        folder = tmp_path / "results"
        if not folder.exists():
            shutil.copytree(ROOT / "results" / "published" / name, folder)
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, capture_output=True)
    written = "fits.json" if name == "scaling_cpu" else "comparison.json"
    options = ["--bootstrap", "20"] if name == "scaling_cpu" else []
    for path in (folder / "runs").iterdir():
        os.utime(path)  # as in a fresh clone, whose files are in no order of time
    before = list_files(folder)
    done = call_main("fit", folder, *options)
    assert done.returncode == 0, done.stderr
    assert f"{written} is kept by git and left as it is: --out DIR writes another." in done.stderr
    assert list_files(folder) == before
    done = call_main("fit", folder, *options, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / written).exists()
    assert list_files(folder) == before
    (folder / written).unlink()
    subprocess.run(["git", "-C", str(tmp_path), "rm", "-q", "--cached", f"results/{written}"], check=True)
    assert call_main("fit", folder, *options).returncode == 0
    assert (folder / written).exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["TABLE", "--map", "loss"], ["--map got 'loss'", "NAME=VALUE"]),
        (["TABLE", "--map", "los=final loss"], ["'los'", "nearest: 'loss'"]),
        (["TABLE", "--map", "loss=final los"], ["no column 'final los'", "nearest: 'final loss'"]),
        (["none.csv"], ["none.csv does not exist"]),
        (["."], ["runs.csv does not exist"]),
        (["TABLE", "--bootstrap", "0", *MAP], ["bootstrap", "0"]),
        (["TABLE", "--out", "TABLE", *MAP], ["TABLE"]),
    ],
)
def test_a_mistake_about_a_table_is_one_line(table: Path, arguments: list[str], words: list[str]) -> None:
    here = [text.replace("TABLE", str(table)) for text in arguments]
    before = table.read_bytes()
    check_mistake(call_main("fit", *here), *(word.replace("TABLE", str(table)) for word in words))
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("n_params,n_tokens,loss\n1e5,1e6,abc\n", "line 2, column 'loss': 'abc' is not a number"),
        ("n_params,n_tokens,loss\n1e5,1e6,-3\n", "line 2, column 'loss'"),
        ("n_params,n_tokens,loss\n1e5,1e6\n", "Line 2 of"),
        ("n_params,n_tokens,loss\n", "holds no runs"),
        ("", "holds no runs"),
        ("n_params,n_tokens,loss\n1e5,1e6,3\n", "a law needs three of one"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    check_mistake(call_main("fit", path), path, words)


# ---- report


def make_record(i: int, j: int) -> "RunRecord":
    """Return the record of a run of SIZES[i] and TOKENS[j], not trained: its loss is from a known law."""
    from lora_jax.config import ModelConfig, RunConfig, run_id, to_dict
    from lora_jax.runs.record import RunRecord

    n, d = SIZES[i], TOKENS[j]
    model = ModelConfig(d_model=8 * (i + 1), n_layers=1, n_heads=1, vocab_size=256, context=128)
    run = RunConfig(model=model, n_tokens=int(d))
    loss = (1.5 + 40 * n**-0.3 + 60 * d**-0.25) * (1 + 1e-3 * math.sin(7 * i + 3 * j))
    return RunRecord(
        run_id=run_id(run),
        sweep="law",
        status="done",
        config=to_dict(run),
        data={},
        seed=0,
        n_params=int(n),
        n_params_with_head=int(1.2 * n),
        n_params_total=int(1.3 * n),
        n_tokens=int(d),
        unique_tokens=int(d),
        epochs=0.5,
        flops=7.2 * n * d,
        flops_exact=8 * n * d,
        train_loss=loss,
        heldout_loss=loss,
        heldout_loss_se=0.01,
        bits_per_byte=loss,
        cooled=True,
        learning_rate=0.01,
        n_steps=run.n_steps,
        diverged_at=None,
        wall_seconds=1.0,
        trained_tokens=int(d),
        tokens_per_second=1e5,
        device="cpu",
        versions={"jax": "0"},
        git_commit=None,
        created_at="2025-01-01T00:00:00+00:00",
    )


def make_results(folder: Path) -> Path:
    """Write the records of a sweep."""
    import dataclasses

    from lora_jax.files import write_atomically
    from lora_jax.runs.store import RunStore

    store = RunStore(folder)
    records = [make_record(i, j) for i in range(len(SIZES)) for j in range(len(TOKENS))]
    rows = [{"step": 1, "n_tokens": 1, "flops": 1.0, "loss": 3.0, "learning_rate": 0.1}]
    for record in records[:-1]:
        path = folder / "runs" / f"{record.run_id}.json"
        write_atomically(path, json.dumps(dataclasses.asdict(record)))
    store.write(records[-1], rows)
    store.claim(
        {
            "name": "law",
            "question": "?",
            "command": "none",
            "overrides": [],
            "data": {},
            "run_ids": [record.run_id for record in records],
        }
    )
    return folder


def test_report_writes_the_page_and_says_where(tmp_path: Path) -> None:
    folder = make_results(tmp_path / "results")
    assert call_main("fit", folder, "--bootstrap", "20").returncode == 0
    done = lora_jax("report", folder, MPLBACKEND="Agg")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder / 'report.html'}\n"
    assert "<html" in (folder / "report.html").read_text()
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png", ".svg"}
    for name, words in (("fits.json", "run `lora-jax fit` first"), ("sweep.json", "run the sweep first")):
        copy = tmp_path / f"without-{name}"
        shutil.copytree(folder, copy)
        (copy / name).unlink()
        check_mistake(call_main("report", copy), copy / name, words)


def test_report_of_nothing_is_one_line(tmp_path: Path) -> None:
    check_mistake(call_main("report", tmp_path / "none"), tmp_path / "none", "is not a folder")
    check_mistake(call_main("report", tmp_path), "sweep.json is missing")


# ---- plan


def test_plan_prices_a_config_without_training(tmp_path: Path) -> None:
    config = ROOT / "configs" / "quickstart.py"
    done = lora_jax("plan", config, "seed=3", "--device", "h200", "optim.clip_norm=2")
    assert done.returncode == 0, done.stderr
    assert "-s3-" in done.stdout
    assert "-s0-" not in done.stdout
    assert "FLOPs if each were trained alone" in done.stdout
    assert "30 % of the peak of h200" in done.stdout
    check_mistake(call_main("plan", config, "--device", "h300"), "'h300'", "h200")
    check_mistake(call_main("plan", config, "sed=3"), "nearest: 'seed'")
    check_mistake(call_main("plan", tmp_path / "no.py"), "no config file")


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m lora_jax.cli plan configs/quickstart.py --device h200 | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""


# ---- as a function


def test_main_returns_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "no-such-file.csv"]) == 2
    assert "no-such-file.csv" in capsys.readouterr().err
