"""Inputs of every kind, made from a seeded generator: what is asked, and of what files."""

import argparse
import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.faults.answers import Answer, ask, call
from tests.faults.spoil import NASTY_TEXTS, hurt_bytes, hurt_document, hurt_json, read_document


class Input(NamedTuple):
    """words: what was asked, to be repeated by hand. ask: asks it."""

    words: str
    ask: Callable[[], Answer]


Maker = Callable[[Random, Path], Input]
FIELDS = ("run_id", "n_params", "n_tokens", "loss", "flops", "seed", "status", "State", "lr", "Name", "step")
TABLE_COMMANDS = [
    line.split()
    for line in """
    --law power-n --json
    --law power-n-floor
    --law chinchilla --json
    --law approach-2 --json
    --json
    --law power-d --last-step-per-run
    --law power-n --best-per-cell
    --law power-n --by seed --json
    --law power-c --where n_params>1e6
    --law power --of n_params --response loss
    """.strip().split("\n")
]


def a_table(rng: Random) -> list[dict[str, Any]]:
    """Return rows of a law that a table may well hold."""
    n = rng.choice((0, 1, 3, 5, 8, 8, 12, 12, 12))
    names = [*FIELDS[:4], *rng.sample(FIELDS[4:], rng.randrange(4))]
    rows = []
    for i in range(n):
        size, tokens = 1e7 * 2 ** (i % 5), 1e9 * 3 ** (i // 3)
        loss = 1.7 + 480 / size**0.35 + 2100 / tokens**0.37 + 0.01 * rng.random()
        known = {
            "run_id": f"r{i}",
            "n_params": size,
            "n_tokens": tokens,
            "loss": loss,
            "flops": 6 * size * tokens,
        }
        rows.append({name: known.get(name, _more(rng, name, i)) for name in names})
    return rows


def _more(rng: Random, name: str, i: int) -> Any:
    """Return a cell of a column that a table need not have."""
    if name in ("status", "State"):
        return rng.choice(("finished",) * 20 + ("crashed", "dnoe"))
    return {"lr": 1e-3 * (1 + i % 2), "Name": f"run {i // 3}"}.get(name, i % 3)


def hurt_rows(rng: Random, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for _ in range(rng.choice((0, 0, 1, 3))):
        if rows:
            row = rng.choice(rows)
            row[rng.choice(list(row) or ["x"])] = rng.choice(NASTY_TEXTS)
    if rows and rng.random() < 0.2:
        old, new = rng.choice(list(rows[0])), rng.choice(NASTY_TEXTS)
        rows = [{new if k == old else k: v for k, v in row.items()} for row in rows]
    return rows


def write_table(rng: Random, folder: Path) -> Path:
    """Write a table in one of the formats, its cells or its bytes damaged."""
    rows, kind = (
        hurt_rows(rng, a_table(rng)),
        rng.choice(("csv", "tsv", "txt", "jsonl", "json", "parquet", "")),
    )
    path = folder / f"t.{kind}"
    if kind in ("json", "jsonl"):
        document = hurt_document(rng, rows) if rng.random() < 0.4 else rows
        lines = document if kind == "jsonl" and isinstance(document, list) else [document]
        content = "\n".join(json.dumps(line) for line in lines).encode("utf-8", "surrogatepass")
    elif kind == "parquet":
        content = _parquet(rows)
    else:
        text, mark = io.StringIO(), rng.choice(",,,;\t|")
        quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        names = list(dict.fromkeys(name for row in rows for name in row)) or list(FIELDS[:4])
        writer = csv.DictWriter(text, names, delimiter=mark, quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue().encode(
            rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")), "replace"
        )
    path.write_bytes(hurt_bytes(rng, content) if rng.random() < 0.25 else content)
    return path


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {
        n.encode("utf-8", "replace").decode(): [
            str(row.get(n)).encode("utf-8", "replace").decode() for row in rows
        ]
        for n in names
    }
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def table_input(rng: Random, folder: Path) -> Input:
    path, command = write_table(rng, folder), rng.choice(TABLE_COMMANDS)
    argv = ["fit", str(path), *command, "--bootstrap", "100"]
    return Input(f"{argv} of {path.read_bytes()[:300]!r}", lambda: ask(argv))


# ---- options


def list_options() -> Iterator[tuple[str, argparse.Action]]:
    """Yield every option and argument of every command."""
    from lora_jax.cli import _build_parser

    parser, _ = _build_parser()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from ((name, one) for one in sub._actions if not isinstance(one, argparse._HelpAction))


GOOD = {
    line.split()[0]: line.split()
    for line in """
    fit TABLE --law power-n --bootstrap 100
    design --flops 1e20
    laws
    count d_model=16 n_layers=1 n_heads=2 vocab_size=64
    sizes
    report TABLE
    compare TABLE --laws power-n power-n-floor
    speedup TABLE TABLE --law power-n --bootstrap 100
    plan CONFIG
    compile CONFIG --target v5e:2x2
    transfer --table TABLE
    ablation CONFIG --plan
    surface --table TABLE
    coordinates CONFIG model.d_model=8 model.n_heads=1 --widths 8,16,24,32 --steps 1 --late 1 --out OUT
    fetch nothing-of-this-name
    watch TABLE --once
    work TABLE
    dashboard TABLE --check
    merge TABLE --base MODEL --out OUT
    export TABLE --base MODEL --out OUT
    generate MODEL --prompt film
    evaluate MODEL sentiment-sample
    """.strip().split("\n")
}
DRIVEN = ("scaling", "finetune", "finetune_laws", "incontext")  # make_drives.py asks these
WRITES = ("--out", "--trace")  # options that name what is written


def option_input(rng: Random, folder: Path, model: Path) -> Input:
    """Return a good command with one or two options of any value."""
    path = folder / "t.csv"
    lines = ["run_id,n_params,n_tokens,loss"]
    for i in range(15):
        size = 1e7 * 2 ** (i % 5)
        lines.append(f"r{i},{size},{1e9 * 3 ** (i // 5)},{1.7 + 480 / size**0.35 + 0.01 * (i % 3)}")
    path.write_text("\n".join(lines))
    command, action = rng.choice([pair for pair in list_options() if pair[0] not in DRIVEN])
    config = Path(__file__).parents[2] / "configs" / "quickstart.py"
    given = {"TABLE": path, "MODEL": model, "OUT": folder / "o", "CONFIG": config}
    argv = [str(given.get(word, word)) for word in GOOD[command]]
    names = [name for name in action.option_strings if name not in WRITES]
    values = [rng.choice(NASTY_TEXTS).replace("\0", "") for _ in range(rng.choice((0, 1, 1, 1, 2)))]
    argv += [rng.choice(names), *values] if names else values
    return Input(str(argv), lambda: ask(argv, repeats=argv[0] == "generate"))


# ---- folders that a program wrote


def folder_input(rng: Random, good: Path, folder: Path, ask_of: Callable[[Path], Answer]) -> Input:
    """Return a copy of a good folder in which one or two files are damaged, gone, or something else."""
    place = folder / "f"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(good, place)
    said = []
    for _ in range(rng.choice((1, 1, 2))):
        paths = sorted(path for path in place.rglob("*") if path.is_file())
        if not paths:
            break
        path = (
            rng.choice([p for p in paths if p.suffix == ".json"] or paths)
            if rng.random() < 0.7
            else rng.choice(paths)
        )
        said.append(f"{path.relative_to(place)}: {_damage(rng, path)}")
    return Input(", ".join(said), lambda: ask_of(place))


def _damage(rng: Random, path: Path) -> str:
    chance, content = rng.random(), path.read_bytes()
    if chance < 0.07:
        path.unlink()
        return "gone"
    if chance < 0.14:
        path.unlink()
        rng.choice((path.mkdir, lambda: path.symlink_to("nowhere"), lambda: path.symlink_to("/dev/null")))()
        return "no file"
    if path.suffix == ".json" and content:
        document = read_document(content)
        if isinstance(document, dict) and "digest" in document and rng.random() < 0.7:
            del document["digest"]  # as an older version wrote it: nothing tells the damage
            content = json.dumps(document).encode()
        path.write_bytes(hurt_json(rng, content))
    elif path.suffix == ".safetensors" and chance < 0.6:
        length = int.from_bytes(content[:8], "little")
        header = hurt_json(rng, content[8 : 8 + length])
        path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    else:
        path.write_bytes(hurt_bytes(rng, content))
    return repr(path.read_bytes()[:200])


def model_answer(folder: Path) -> Answer:
    from lora_jax.huggingface.pretrained import load_pretrained

    return call(lambda: load_pretrained(str(folder)))
