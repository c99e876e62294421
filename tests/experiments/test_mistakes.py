"""What a user can get wrong: one clear line, a status that is not 0, and no finished run lost."""

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.experiments.place import (
    N_RUNS,
    ROOT,
    Place,
    check_mistake,
    read_records,
)

# ---- mistakes in what was asked


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.sources=tfds:nope"], ["'nope'", "tfds:"]),
        (["data.sources=bokks"], ["data.sources", "'bokks'"]),
        (["data.sources=files:CORPUS/none-*.txt"], ["none-*.txt", "matches no file"]),
        (["data.sources=files:CORPUS/0.txt"], ["second one is needed", "0.txt"]),
        (["data.seq_len=4096", "model.context=4096", "n_tokens=100_000"], ["data.seq_len", "shorter"]),
        (["data.max_epochs=1"], ["n_tokens", "data.max_epochs", "epochs"]),
        (["model.vocab_size=100"], ["model.vocab_size is 100", "256"]),
        (["data.tokenizer=bpe:300"], ["300", "model.vocab_size is 256"]),
        (["data.tokenizer=none.json"], ["none.json"]),
    ],
)
def test_a_mistake_about_the_data_is_one_line(
    place: Place, tmp_path: Path, overrides: list[str], words: list[str]
) -> None:
    texts = [text.replace("CORPUS", str(place.corpus)) for text in overrides]
    check_mistake(place.run(place.config, *texts, "--out", tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\xff\xfe\x00bad", "is not UTF-8"), (None, "cannot be read")],
)
def test_a_bad_text_file_is_named(place: Place, tmp_path: Path, content: bytes | None, words: str) -> None:
    for name in ("a", "b"):
        shutil.copy(place.corpus / "3.txt", tmp_path / f"{name}.txt")
    bad = tmp_path / "bad.txt"
    if content is None:
        bad.symlink_to(tmp_path / "nothing")
    else:
        bad.write_bytes(content)
    got = place.run(place.config, f"data.sources=files:{tmp_path}/*.txt", "--out", tmp_path / "out")
    check_mistake(got, str(bad), words)


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_files_that_are_all_empty_are_refused(place: Place, tmp_path: Path, content: bytes) -> None:
    """One among many is passed over, and counted."""
    (tmp_path / "empty.txt").write_bytes(content)
    got = place.run(place.config, f"data.sources=files:{tmp_path}/*.txt", "--out", tmp_path / "out")
    check_mistake(got, str(tmp_path), "empty")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.d_modle=8"], ["unknown field 'model.d_modle'", "nearest: 'model.d_model'"]),
        (["model.n_heads=3"], ["model.d_model", "model.n_heads is 3", "change one of them"]),
        (["n_tokens=many"], ["n_tokens is 'many'", "a whole number"]),
        (["optim.learning_rate=nan"], ["optim.learning_rate is nan", "a number from"]),
        (["optim.schedule=wds"], ["optim.schedule", "'wsd'"]),
        (["seed"], ["field=value"]),
        (["--dry-run", "--device", "h201"], ["unknown device 'h201'", "nearest: 'h200'"]),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    place: Place, tmp_path: Path, overrides: list[str], words: list[str]
) -> None:
    check_mistake(place.run(place.config, *overrides, "--out", tmp_path / "out"), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("BASE = RunConfig(", "BASE = = RunConfig(", 1), "line 11"),
        (lambda text: text.replace("return expand(", "return nothing(", 1), "line 23: NameError"),
        (lambda text: text.replace("d_model=4", "width=4", 1), "line 12: TypeError"),
        (lambda text: text.replace("over, product", "over, produkt", 1), "ImportError"),
        (lambda text: text.replace("def runs", "def ruins", 1), "no function `runs()`"),
    ],
)
def test_a_mistake_in_the_config_names_its_line(place: Place, tmp_path: Path, change, words: str) -> None:
    config = tmp_path / "mine.py"
    config.write_text(change(place.config.read_text()))
    check_mistake(place.run(config, "--out", tmp_path / "out"), str(config), words)


def test_a_missing_config_is_named_with_the_nearest(place: Place) -> None:
    check_mistake(place.run(place.folder / "tyni.py"), "tyni.py", "nearest", "tiny.py")


@pytest.mark.parametrize("overrides", [["data.sources=tfds:nope"], ["model.n_heads=3"]])
def test_the_program_ends_as_its_function_does(place: Place, tmp_path: Path, overrides: list[str]) -> None:
    """Most mistakes here are made by a call of `main`."""
    arguments = [place.config, *overrides, "--out", tmp_path / "out"]
    assert place.call(*arguments) == place.run(*arguments)


# ---- results folders that do not fit


def test_the_folder_of_another_config_is_refused_before_anything_is_read(place: Place, whole: Path) -> None:
    before = read_records(whole)
    got = place.call(place.config, "seed=9", "--out", whole)
    check_mistake(got, str(whole), "another config", "--out")
    assert "tokenising" not in got[1]
    assert read_records(whole) == before


@pytest.mark.parametrize(
    "change", [lambda text: text[:200], lambda text: "", lambda text: text.replace('"seed"', '"sed"')]
)
def test_a_bad_record_is_refused_by_name(place: Place, whole: Path, tmp_path: Path, change) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    path = min((folder / "runs").iterdir())
    path.write_text(change(path.read_text()))
    check_mistake(place.run(place.config, "--out", folder), str(path), "delete it")
    assert len(list((folder / "runs").iterdir())) == N_RUNS


def test_changed_text_is_refused(place: Place, whole: Path, tmp_path: Path) -> None:
    other = Place(tmp_path / "other")
    (tmp_path / "other" / "tiny.py").write_text(place.config.read_text())
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    path = min((folder / "runs").iterdir())
    path.unlink()  # something is left to train
    text = place.corpus / "4.txt"
    before = text.read_text()
    text.write_text(before + "One sentence more.")
    try:
        check_mistake(
            other.run(place.config, "--out", folder), "sweep.json", "other text", "restore the text"
        )
    finally:
        text.write_text(before)


def test_a_file_where_the_folder_must_be_is_refused(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("mine")
    check_mistake(place.run(place.config, "--out", path), str(path), "--out")
    assert path.read_text() == "mine"


def test_a_full_disk_loses_no_finished_run(place: Place, whole: Path, tmp_path: Path) -> None:
    """The limit on the size of a file stands for a disk that is full: the long curves do not fit."""
    folder = tmp_path / "out"
    command = f'ulimit -f 4; exec {sys.executable} {ROOT}/experiments/scaling.py "$@" --tracker off'
    done = subprocess.run(
        ["bash", "-c", command, "bash", str(place.config), "--out", str(folder)],
        env=place.env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    # Where the write that failed was a checkpoint's, orbax's own threads print stack traces above the line.
    lines = [line for line in done.stderr.splitlines() if line.startswith("lora-jax: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert str(folder) in lines[0]
    assert "every finished run is kept" in lines[0]
    kept = read_records(folder)
    assert 0 < len(kept) < N_RUNS
    assert kept.items() <= read_records(whole).items()
    assert not [path for path in folder.rglob("*.tmp")]


def test_too_few_sizes_to_fit_lose_no_run(place: Place, tmp_path: Path) -> None:
    folder, config = tmp_path / "out", place.config.with_name("two.py")
    config.write_text(place.config.read_text().replace("[4, 8, 16]", "[4, 8]"))
    got = place.run(config, "n_tokens=2560", "--out", folder)
    assert (got[0], "no law can be fitted to so few runs" in got[1]) == (0, True), got
    assert len(read_records(folder)) == 2
    again = place.run(config, "n_tokens=2560", "--out", folder)
    assert again[0] == 0
    assert "[1/2]" not in again[2]


@pytest.mark.slow
def test_a_single_run_is_trained_and_can_be_kept_as_a_model(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    one = [place.config, "model.d_model=8", "n_tokens=2560", "--out", folder]
    refused = place.call(*one, "--keep-models")
    check_mistake(refused, "which has no tokenizer.json to keep with a model")
    assert not list(folder.glob("runs/*.json"))
    status, out, _ = place.call(*one, "data.tokenizer=bpe:300", "model.vocab_size=300", "--keep-models")
    assert status == 0
    assert "no law can be fitted to so few runs: No law is fitted: the runs have one N and one D" in out
    [record] = folder.glob("runs/*.json")
    assert record.stem in out, "its table"
    assert "Training curves" in (folder / "report.html").read_text(), "and its curve"
    [model] = folder.glob("models/*")
    assert {path.name for path in model.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    from lora_jax.huggingface.pretrained import load_pretrained

    loaded = load_pretrained(str(model))
    assert (loaded.config.d_model, loaded.config.vocab_size) == (8, 300)
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("the License")[0]) == "the License"


def test_two_sweeps_at_once_do_not_share_a_folder(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    first = place.start(place.config, "--out", folder)
    try:
        while not list(folder.glob("runs/*.json")):
            assert first.poll() is None
            time.sleep(0.01)
        check_mistake(place.call(place.config, "--out", folder), "Another process", str(folder))
    finally:
        with contextlib.suppress(ProcessLookupError):
            first.kill()
        first.communicate()
