"""The sweep algebra. A grid is a list of points, and a point maps dotted field names to values."""

import dataclasses
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from lora_jax.config import OptimizerConfig, RunConfig, SourceConfig, run_id
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.ranges import WEIGHT, Range, field_kinds, show, split_optional
from lora_jax.training.optimizers import find_optimizers

Point = dict[str, Any]
Grid = list[Point]


def over(field: str, values: Iterable[Any]) -> Grid:
    """Return one point for each value of a field, such as over("model.d_model", [16, 32])."""
    return [{field: value} for value in values]


def product(*grids: Grid) -> Grid:
    """Return every combination of one point from each grid. The last grid varies fastest."""
    points: Grid = [{}]
    for grid in grids:
        points = [_join(left, right) for left in points for right in grid]
    return points


def zipped(*grids: Grid) -> Grid:
    """Join the first points of all grids, then the second ones, and so on.

    Raises:
        LoraJaxError: The grids differ in length.
    """
    lengths = [len(grid) for grid in grids]
    if len(set(lengths)) > 1:
        raise LoraJaxError(f"zipped got grids of lengths {lengths}: make them equal, or use product.")
    return [product(*([point] for point in points))[0] for points in zip(*grids, strict=True)]


def chain(*grids: Grid) -> Grid:
    """Return all points of the first grid, then all of the second, and so on."""
    return [point for grid in grids for point in grid]


def _join(left: Point, right: Point) -> Point:
    shared = left.keys() & right.keys()
    if shared:
        raise LoraJaxError(f"two grids set {sorted(shared)}: let one grid set a field, or use chain.")
    return {**left, **right}


def expand(base: RunConfig, grid: Grid) -> list[RunConfig]:
    """Lay each point over the base. Return each different run once, in order."""
    runs = (overlay(base, point) for point in grid)
    return list({run_id(run): run for run in runs}.values())


def overlay(config: Any, point: Mapping[str, Any], path: str = "") -> Any:
    """Return the configuration with some fields replaced.

    Args:
        config: A configuration, a dataclass.
        point: Values by dotted field name.
        path: Where the configuration stands in a larger one, for messages.

    Raises:
        LoraJaxError: There is no such field. The message names the nearest one.
    """
    names = [field.name for field in dataclasses.fields(config)]
    changes: dict[str, Any] = {}
    inner: dict[str, Point] = {}
    for dotted, value in point.items():
        name, _, rest = dotted.partition(".")
        if name not in names or (rest and not dataclasses.is_dataclass(getattr(config, name))):
            raise LoraJaxError(
                f"unknown field {path + dotted!r}{_nearest_field(path + dotted, _paths(config, path))}."
            )
        if rest:
            inner.setdefault(name, {})[rest] = value
        else:
            changes[name] = value
    for name, fields in inner.items():
        changes[name] = overlay(changes.get(name, getattr(config, name)), fields, f"{path}{name}.")
    return dataclasses.replace(config, **changes)


def _paths(config: Any, path: str) -> list[str]:
    found = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        found.append(path + field.name)
        if dataclasses.is_dataclass(value):
            found += _paths(value, f"{path}{field.name}.")
    return found


def _nearest_field(dotted: str, known: Iterable[str]) -> str:
    """Return the hint of `nearest`.

    If the part of a dotted name exists, such as optim, only its fields count.

    Otherwise optim.lr would be nearest to `optim` or to some short field of it.
    """
    part, _, name = dotted.rpartition(".")
    fields = [field.rpartition(".")[2] for field in known if field.rpartition(".")[0] == part]
    if not part or not fields:
        return nearest(dotted, known)
    return nearest(name, fields).replace("nearest: '", f"nearest: '{part}.").replace("known:", f"{part} has:")


def parse_overrides(texts: Sequence[str], owner: type = RunConfig) -> Point:
    """Read `field=value` arguments into a point, with values typed by the annotations of `owner`.

    Raises:
        LoraJaxError: A text is no override, names an unknown field, or has a value of the wrong type.
    """
    point: Point = {}
    for text in texts:
        field, equals, value = text.partition("=")
        if not equals:
            raise LoraJaxError(
                f"got {text!r}, an override is field=value, such as optim.learning_rate=0.003."
            )
        point[field] = _parse(_annotation(owner, field), value, field)
    return point


def _annotation(owner: Any, dotted: str) -> Any:
    here = owner
    known = _annotated_paths(owner)
    if dotted not in known:
        parent = dotted.rpartition(".")[0]
        if parent in known and split_optional(_annotation(owner, parent))[0] is OptimizerConfig:
            raise LoraJaxError(
                f"got {dotted}=..., but an optimizer's numbers follow its name: write {parent}=muon,beta=0.9,"
                " for example."
            )
        raise LoraJaxError(f"unknown field {dotted!r}{_nearest_field(dotted, known)}.")
    for name in dotted.split("."):
        here = field_kinds(here)[name]
    return here


def _annotated_paths(owner: Any, path: str = "") -> list[str]:
    found = []
    for name, kind in field_kinds(owner).items():
        found.append(path + name)
        if dataclasses.is_dataclass(kind):
            found += _annotated_paths(kind, f"{path}{name}.")
    return found


def _parse(kind: Any, text: str, field: str) -> Any:
    kind, may_be_none = split_optional(kind)
    if may_be_none and text.lower() == "none":
        return None
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated and isinstance(parts[1], Range):
        return parts[1].read(field, text)
    if origin is Literal:
        if text not in parts:
            raise LoraJaxError(
                f"{field} got {show(text)}, it wants one of {list(parts)}{nearest(text, parts)}."
            )
        return text
    if kind is OptimizerConfig:
        return _parse_optimizer(text, field)
    if kind == tuple[SourceConfig, ...]:
        return tuple(_parse_source(part, field) for part in text.split(","))
    if origin is tuple and parts[-1] is Ellipsis and parts[0] is not str:
        return tuple(_parse(parts[0], part, field) for part in text.split(","))
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind is str:
        return text
    raise LoraJaxError(f"{field} got {show(text)}, it wants {_describe(kind)}: correct the override.")


def _parse_source(text: str, field: str) -> SourceConfig:
    name, at, weight = text.rpartition("@")
    if not at:
        return SourceConfig(name=text)
    return SourceConfig(name=name, weight=WEIGHT.read(f"{field}, the weight of {name},", weight))


def _parse_optimizer(text: str, field: str) -> OptimizerConfig:
    """Read "muon" or "muon,beta=0.9": a kind and its numbers."""
    kind, *numbers = text.split(",")
    known = find_optimizers()
    if kind not in known:
        raise LoraJaxError(f"{field} got {show(kind)}, which is no optimizer{nearest(kind, known)}.")
    kinds = field_kinds(known[kind])
    given: dict[str, Any] = {}
    for part in numbers:
        name, _, value = part.partition("=")
        if name not in kinds:
            raise LoraJaxError(f"the optimizer {kind} has no number {name!r}{nearest(name, kinds)}.")
        given[name] = _parse(kinds[name], value, f"{field}.{name}")
    return known[kind](**given)


def _describe(kind: Any) -> str:
    if dataclasses.is_dataclass(kind):
        first = next(iter(field_kinds(typing.cast(type, kind))))
        return f"its fields one by one, such as {typing.cast(type, kind).__name__}'s .{first}=..."
    return "true or false" if kind is bool else "what a config file alone can say"
