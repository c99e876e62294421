"""What programs leave, without times: digests of files, what documents hold, and how two differ."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

# Parts of the names of what differs each time. trained_tokens and lanes tell of the last process alone: a run
# that was killed among others may go on by itself.
VARYING = ("second", "created_at", "git_commit", "source", "digest", "trained_tokens", "lanes")
Product = dict[str, Any]  # by file: a digest, or what a document holds


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def plain(value: Any) -> Any:
    """Return a document without what differs between two undisturbed runs."""
    if isinstance(value, dict):
        same = {name: part for name, part in value.items() if not any(word in name for word in VARYING)}
        return {name: plain(part) for name, part in same.items()}
    return [plain(part) for part in value] if isinstance(value, list) else value


def of_json(path: Path) -> Any:
    return plain(json.loads(path.read_text()))


def of_curve(path: Path) -> list[list[float]]:
    return [[float(cell) for cell in line.split(",")] for line in path.read_text().splitlines()[1:]]


def difference(wanted: Any, found: Any, rel: float, where: str = "", size: float = 0.0) -> str | None:
    """Return where two products differ first, or None.

    rel: how far two numbers may lie apart, as a share of the larger one or of `size`.
    """
    if isinstance(wanted, dict) and isinstance(found, dict):
        if set(wanted) != set(found):
            lost, more = set(wanted) - set(found), set(found) - set(wanted)
            return f"{where}: missing {sorted(lost)}, more {sorted(more)}"
        differences = (
            difference(wanted[name], found[name], rel, f"{where}/{name}", size_of(name, wanted))
            for name in wanted
        )
        return next(filter(None, differences), None)
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = [(f"{where}[{k}]", a, b) for k, (a, b) in enumerate(zip(wanted, found, strict=True))]
    else:
        near = (
            isinstance(wanted, float)
            and isinstance(found, float)
            and math.isclose(wanted, found, rel_tol=rel, abs_tol=rel * size)
        )
        return None if wanted == found or near else f"{where}: {wanted!r} became {found!r}"
    return next((d for at, a, b in pairs if (d := difference(a, b, rel, at))), None)


def size_of(name: str, document: dict[str, Any]) -> float:
    """Return the number whose rounding `name` inherits: a standard error is that of a larger loss."""
    mean = document.get(name.removesuffix("_se")) if name.endswith("_se") else None
    return abs(mean) if isinstance(mean, float) else 0.0


def records(out: Path) -> Product:
    """Return the records and curves of a sweep."""
    found: Product = {f"runs/{path.name}": of_json(path) for path in sorted(out.glob("runs/*.json"))}
    return found | {f"curves/{path.name}": of_curve(path) for path in sorted(out.glob("curves/*.csv"))}


def tuned(out: Path) -> Product:
    adapters = sorted([*out.glob("adapters/*.safetensors"), *out.glob("peft/*/adapter_model.safetensors")])
    found = {str(path.relative_to(out)): of_tensors(path) for path in adapters}
    return records(out) | found


def of_tensors(path: Path) -> str:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        return f"cannot be read: {error}"
    return digest_of(b"".join(name.encode() + a.tobytes() for name, a in sorted(tensors.items())))


def prompted(out: Path) -> Product:
    return records(out) | {
        f"prompts/{path.name}": of_json(path) for path in sorted(out.glob("prompts/*.json"))
    }


def whole_folder(folder: Path) -> Product:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest_of(path.read_bytes()) for path in files}


def pages(out: Path) -> Product:
    page = out / "report.html"
    whole = page.exists() and page.read_text().rstrip().endswith("</html>")
    figures = {path.name: digest_of(path.read_bytes()) for path in sorted(out.glob("figures/*.svg"))}
    return {"page": whole, **figures}
