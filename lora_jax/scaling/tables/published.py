"""Published run tables, read as `published:NAME`: where they are, their licences, their columns."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.files import find_cache, write_atomically
from lora_jax.scaling.tables.wide import Wide

PREFIX = "published:"
RAW = "https://raw.githubusercontent.com"
TIMEOUT = 30.0  # how many seconds a server may be silent
NAME_TIMEOUT = 5.0  # seconds to look a server's name up: without a network some resolvers try for minutes
CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """One published table: its source, and how to read it.

    A derived table has no `path` and no `sha256`, and cannot be downloaded.

    Attributes:
        file: Its place in a local folder and in the cache.
        repository: The GitHub repository that it is from.
        commit: The commit.
        licence: Its licence.
        of: Whose runs they are.
        mapping: Our column names and the file's.
        path: Its path in the repository. None if it is derived.
        sha256: Hash of the file. None if it is derived.
        wide: How to read a file with one model in each row and one column for each size.
        named: Columns of the file that get better names.
        cluster: The column whose equal values belong together. None lets table.py look for one.
        notes: What a reader should know about it.
    """

    file: str
    repository: str
    commit: str
    licence: str
    of: str
    mapping: Mapping[str, str]
    path: str | None = None
    sha256: str | None = None
    wide: Wide | None = None
    named: Mapping[str, str] = field(default_factory=dict)
    cluster: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def url(self) -> str | None:
        """Where to download it. None if it is derived."""
        return None if self.path is None else f"{RAW}/{self.repository}/{self.commit}/{self.path}"

    @property
    def source(self) -> str:
        """Where it is from, in one sentence."""
        derived = "derived from " if self.path is None else ""
        return f"{derived}{self.repository} at {self.commit[:8]}, {self.licence}: {self.of}."


_GEMSTONES: dict[str, Any] = dict(
    repository="mcleish7/gemstone-scaling-laws",
    commit="5f420478f6057b0cbb4d13405fb10ca64675bccb",
    licence="MIT",
)
_GEMSTONE_COLUMNS = {"n_params": "params_active_precise", "n_tokens": "tokens", "loss": "final_loss"}
_FINETUNING: dict[str, Any] = dict(
    repository="linhaowei1/Fine-tuning-Scaling-Law",
    commit="5214568013af65e3cefd03860ecd7bc9358b308c",
    licence="Apache-2.0",
    mapping={},
    wide=Wide("finetune_tokens"),
    named={"config name": "model", "size": "n_params"},
    cluster="model",
    notes=(
        "finetune_tokens is the size of the fine-tuning set as published, in examples and not in tokens.",
    ),
)

# Hashes and paths are those of the files at these commits. To add a table, add an entry.
PUBLISHED: dict[str, PublishedTable] = {
    "chinchilla": PublishedTable(
        file="chinchilla.csv", **_GEMSTONES, path="data/epoch_chinchilla_svg_extracted_data.csv",
        sha256="193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30",
        of="runs of Hoffmann et al. 2203.15556, read off its figure 4 by Besiroglu et al. 2404.10102",
        mapping={"n_params": "Model Size", "flops": "Training FLOP", "loss": "loss"},
    ),
    "gemstones-hot": PublishedTable(
        file="gemstones/fitting_hot.jsonl", **_GEMSTONES, path="wandb_dfs/wandb_df_for_fitting_hot.jsonl",
        sha256="655467b59c99383403d6f73f5b7f23c02aea3f12935dc110382d8a8b43a0ff5d",
        of="the Gemstones, learning rate constant", mapping=_GEMSTONE_COLUMNS,
    ),
    "gemstones-cool": PublishedTable(
        file="gemstones/fitting_cool_begin.jsonl", **_GEMSTONES,
        path="wandb_dfs/wandb_df_for_fitting_cool_begin.jsonl",
        sha256="0e9991b2e0f694f7e01b4c49debd28b5075c1aff993344f753ebca96341b9510",
        of="the Gemstones, learning rate brought down", mapping=_GEMSTONE_COLUMNS,
    ),
    "flan": PublishedTable(
        file="rectified_finetuning/flan.csv", **_FINETUNING, path="benchmark/flan.csv",
        sha256="ead24af8eaa97ac0507bbd76c4880eb09c6361e252f4971666ba55017215d1e9",
        of="full fine-tuning on subsets of FLAN, Lin et al. 2402.02314",
    ),
    "gigaword": PublishedTable(
        file="rectified_finetuning/gigaword.csv", **_FINETUNING, path="benchmark/gigaword.csv",
        sha256="7d0b08ef9df06eefb4355f859fb44e7860c1e55effd781d318d60a1f8661f2b3",
        of="full fine-tuning on subsets of Gigaword, Lin et al. 2402.02314",
    ),
    "gadre": PublishedTable(
        file="gadre.csv", repository="mlfoundations/scaling", commit="a003c491", licence="MIT",
        of="over-trained models of Gadre et al. 2403.08540, loss on C4's validation set",
        mapping={"n_params": "N", "n_tokens": "D", "loss": "loss_c4_val", "error": "err_avg17"},
    ),
    "muennighoff": PublishedTable(
        file="muennighoff.csv", repository="huggingface/datablations", commit="13701315",
        licence="Apache-2.0", of="runs over repeated data of Muennighoff et al. 2305.16264",
        mapping={"n_params": "params", "n_tokens": "tokens", "unique_tokens": "unique_tokens",
                 "loss": "val_loss_c4"},
    ),
    "olmo": PublishedTable(
        file="olmo_ladder.csv", repository="allenai/OLMo-ladder", commit="67a3f440", licence="Apache-2.0",
        of="the OLMo ladder, loss on C4 as the mean of the last five evaluations",
        mapping={"n_params": "N_non_embed", "n_tokens": "D", "loss": "c4_last5"},
    ),
    "porian": PublishedTable(
        file="porian_isoflop.csv", repository="formll/resolving-scaling-law-discrepancies", commit="0dc60d91",
        licence="MIT", of="IsoFLOP runs of Porian et al. 2406.19146, 15 configurations",
        mapping={"n_params": "n", "n_tokens": "t", "flops": "flops", "loss": "loss"},
    ),
}  # fmt: skip


def find_published(name: str) -> tuple[Path, PublishedTable]:
    """Return the file of a published table and its entry.

    We look in $LORA_JAX_PUBLISHED, in ../shared/data/published beside the checkout, and in the cache
    ($LORA_JAX_CACHE, else ~/.cache/lora_jax). Then we download the file from its URL and cache it. We read a
    file only if its SHA-256 is the declared one.

    Raises:
        LoraJaxError: The name is unknown, a file under this name has another hash, the download failed, or
            the table is derived and no folder holds it.
    """
    if name not in PUBLISHED:
        raise LoraJaxError(f"published:{name} is not known{nearest(name, PUBLISHED)}: name one of these.")
    table = PUBLISHED[name]
    for folder in _local_folders():
        path = folder / table.file
        if path.is_file():
            _check(path.read_bytes(), table, str(path))
            return path, table
    if table.url is None:
        raise LoraJaxError(
            f"published:{name} is derived from {table.repository} at {table.commit} and cannot be downloaded:"
            f" put its {table.file} into a folder and name that in LORA_JAX_PUBLISHED."
        )
    cached = find_cache() / "published" / table.file
    # download a damaged file of the cache again: nobody put it there by hand
    if not cached.is_file() or _hash(cached.read_bytes()) != table.sha256:
        content = _download(table.url, table.file)
        _check(content, table, table.url)
        try:
            write_atomically(cached, content)
        except OSError as problem:
            raise LoraJaxError(
                f"{cached} cannot be written ({problem.strerror}): make room, or point LORA_JAX_CACHE"
                " elsewhere."
            ) from problem
    return cached, table


def _local_folders() -> list[Path]:
    named = os.environ.get("LORA_JAX_PUBLISHED")
    beside = CHECKOUT.parent / "shared" / "data" / "published"
    return [*([Path(named).expanduser()] if named else []), beside]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check(content: bytes, table: PublishedTable, where: str) -> None:
    if table.sha256 is not None and _hash(content) != table.sha256:
        raise LoraJaxError(
            f"{where} has the SHA-256 {_hash(content)[:12]}..., the published table has"
            f" {table.sha256[:12]}...: take it from {table.url}, or read your own file by its path."
        )


def _download(url: str, file: str) -> bytes:
    """Return the content of a URL.

    Raises:
        LoraJaxError: The server, or the proxy in front of it, cannot be reached.
    """
    import http.client  # here, because urllib with ssl takes a tenth of a second and no other table needs it
    import urllib.request

    _resolve_server(url, file)
    try:
        # an opener of its own: the shared one keeps the proxies of whoever used it first
        with urllib.request.build_opener().open(url, timeout=TIMEOUT) as answer:
            return answer.read()
    except (OSError, http.client.HTTPException) as problem:  # URLError and time-outs are OSErrors
        raise LoraJaxError(
            f"{url} cannot be downloaded ({problem}): try again, or put the file into a folder as"
            f" {file} and name that in LORA_JAX_PUBLISHED."
        ) from problem


def _resolve_server(url: str, file: str) -> None:
    """Look up the server's name, so that a machine without a network gets its answer at once."""
    import socket
    import threading
    import urllib.parse
    import urllib.request

    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    host, problems = parts.hostname or "", ["no answer"]

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, parts.port or 443)
            problems.clear()
        except OSError as problem:
            problems[:] = [problem.strerror or str(problem)]

    # use a thread, because a look-up has no time-out and cannot be interrupted
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(NAME_TIMEOUT)
    if problems:
        raise LoraJaxError(
            f"{url} cannot be reached, as the name {host} is not found ({problems[0]}): connect to a network,"
            f" or put the file into a folder as {file} and name that in LORA_JAX_PUBLISHED."
        )
