"""What a solver file says: read, upgraded, overridden, checked, and its nets found.

1. Exactly one of net, net_param, train_net, train_net_param gives the training net.
2. Test nets, in order: each test_net_param, each test_net, then as many of net or net_param as test_iter has left.
3. A net named by a relative path is looked for from the solver's folder, then from the current one.
4. A net's state: the phase TRAIN or TEST, over it the `state` of the net, over it train_state or its test_state.
5. A field with a value that cannot be honoured is an error at its place, never silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec import schema
from netspec.errors import Loc, SpecError, suggestion
from netspec.ir.graph import Graph
from netspec.ir.lower import lower, nth
from netspec.ir.words import counted
from netspec.pipeline import read_net
from netspec.solver import policies
from netspec.solver.detections import VERSIONS
from netspec.spec import binary, text
from netspec.spec.text import Document, Place
from netspec.spec.upgrade import upgrade_net, upgrade_solver

Overrides = Mapping[str, Any] | Iterable[str]
TRAIN_NETS = ("net", "net_param", "train_net", "train_net_param")
NOT_NEGATIVE = ("display", "snapshot", "test_interval", "max_iter")
EVALUATIONS = ("classification", "detection")
AT_LEAST_ONE = ("iter_size", "average_loss")


def read(solver: str | Path | Document | Any, overrides: Overrides = ()) -> Document:
    """A solver file, document or message in today's form, overrides applied, checked."""
    if isinstance(solver, (str, Path)):
        document = binary.read_any(solver, "SolverParameter")
    elif isinstance(solver, Document):
        document = solver
    else:
        document = Document(solver, Place(Loc("<solver>")))
    document = override(upgrade_solver(document), overrides)
    check(document)
    return document


def override(document: Document, overrides: Overrides) -> Document:
    """The document with fields replaced: `{"base_lr": 1e-10}` or `["base_lr=1e-10", "stepvalue=[10, 20]"]`."""
    pairs = overrides.items() if isinstance(overrides, Mapping) else [split(one) for one in overrides]
    out = Document(type(document.message)(), Place(document.place.loc, dict(document.place.fields)))
    out.message.CopyFrom(document.message)
    for field, value in pairs:
        given = parse_field(field, value)
        out.message.ClearField(field)
        out.message.MergeFrom(given.message)
        out.place.fields[field] = given.place.fields.get(field, [given.place])
    return out


def split(one: str) -> tuple[str, str]:
    """`field=value` -> field, value."""
    field, equals, value = one.partition("=")
    if not equals:
        raise SpecError(f"'{one}' is not of the form field=value")
    return field.strip(), value.strip()


def parse_field(field: str, value: Any) -> Document:
    """One field of a solver from its text, or from a Python value; strings need no quotes."""
    fields = schema.SolverParameter.DESCRIPTOR.fields_by_name
    if field not in fields:
        raise SpecError(f"SolverParameter has no field '{field}'{suggestion(field, fields)}")
    is_string = fields[field].cpp_type == fields[field].CPPTYPE_STRING

    def one(v: Any) -> str:
        if is_string and not str(v).startswith(('"', "'")):
            return text.quote(str(v))
        return str(v).lower() if isinstance(v, bool) else str(v)

    listed = isinstance(value, (list, tuple))
    if isinstance(value, str) and value.startswith("["):
        shown = value
    else:
        shown = f"[{', '.join(map(one, value))}]" if listed else one(value)
    return text.parse(f"{field}: {shown}", f"<{field}={value}>", "SolverParameter")


def check(document: Document) -> None:
    """Refuses what no run could honour."""
    param, place = document.message, document.place
    for fields, least in ((NOT_NEGATIVE, 0), (AT_LEAST_ONE, 1)):
        for field in fields:
            if getattr(param, field) < least:
                raise SpecError(f"{field} {getattr(param, field)} is less than {least}", place.of(field))
    if param.base_lr < 0 or param.base_lr != param.base_lr:
        raise SpecError(f"base_lr {param.base_lr:g} is not a rate of 0 or more", place.of("base_lr"))
    policies.check(document)
    for field, known in (("eval_type", EVALUATIONS), ("ap_version", VERSIONS)):
        value = getattr(param, field)
        if value not in known:
            raise SpecError(f"unknown {field} '{value}'{suggestion(value, known)}", place.of(field))
    given = [field for field in TRAIN_NETS if param.HasField(field)]
    if len(given) != 1:
        what = f"{' and '.join(given)} are given" if given else "no training net is given"
        raise SpecError(f"{what}; give one of {', '.join(TRAIN_NETS)}", place.of(given[1]) if given else place.loc)
    check_tests(document)


def check_tests(document: Document) -> None:
    """test_iter and test_state fit the number of test nets, and an interval is given."""
    param, place = document.message, document.place
    named = len(param.test_net) + len(param.test_net_param)
    shared = param.HasField("net") or param.HasField("net_param")
    iters = len(param.test_iter)
    if iters < named or (iters > named and not shared):
        raise SpecError(
            f"test_iter is given {counted(iters, 'time')} for {counted(named, 'test net')}", place.of("test_iter")
        )
    if len(param.test_state) not in (0, iters):
        raise SpecError(
            f"test_state is given {counted(len(param.test_state), 'time')} for {counted(iters, 'test net')}",
            place.of("test_state"),
        )
    if iters and not param.test_interval:
        raise SpecError("test_iter needs a test_interval", place.of("test_iter"))
    for i, count in enumerate(param.test_iter):
        if count < 1:
            raise SpecError(f"test_iter {count} is less than 1", nth(place, "test_iter", i).loc)


@dataclass(frozen=True)
class NetSource:
    """A net of a solver in its state; `folder` is where relative paths inside it start."""

    graph: Graph
    folder: Path | None


def train_net(document: Document) -> NetSource:
    """The training net."""
    field = next(f for f in TRAIN_NETS if document.message.HasField(f))
    return _source(document, field, 0, "TRAIN", document.message.train_state)


def test_nets(document: Document) -> list[NetSource]:
    """The test nets in Caffe's order."""
    param = document.message
    fields = [("test_net_param", i) for i in range(len(param.test_net_param))]
    fields += [("test_net", i) for i in range(len(param.test_net))]
    shared = "net" if param.HasField("net") else "net_param"
    fields += [(shared, 0)] * (len(param.test_iter) - len(fields))
    states = param.test_state or [schema.NetState()] * len(fields)
    return [_source(document, f, i, "TEST", s) for (f, i), s in zip(fields, states, strict=True)]


def _source(document: Document, field: str, index: int, phase: str, state: Any) -> NetSource:
    value, place = getattr(document.message, field), nth(document.place, field, index)
    value = value[index] if field in ("test_net", "test_net_param") else value
    if field.endswith("_param"):
        net, folder = upgrade_net(Document(value, place)), folder_of(document)
    else:
        path = find(document, value, place.loc)
        net, folder = read_net(path), path.parent
    merged = schema.new("NetState", phase=phase)
    merged.MergeFrom(net.message.state)
    merged.MergeFrom(state)
    stages = tuple(s for s in state.stage if s)  # lower adds the net's own
    return NetSource(lower(net, schema.enum_name(merged, "phase"), merged.level, stages), folder)


def folder_of(document: Document) -> Path | None:
    """The solver file's folder; None for a solver made in Python."""
    return None if document.file.startswith("<") else Path(document.file).parent


def find(document: Document, name: str, loc: Loc) -> Path:
    """A file that the solver names, from the solver's folder, then from the current one."""
    folders = [folder for folder in (folder_of(document), Path()) if folder is not None]
    places = [Path(os.path.normpath(folder / name)) for folder in folders]
    for path in places:
        if path.is_file():
            return path
    looked = ", ".join(dict.fromkeys(str(p) for p in places))
    raise SpecError(f"file '{name}' is missing (looked for {looked})", loc)


def weight_files(document: Document, weights: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """Files of initial weights: those given by the caller, else the solver's `weights`; commas separate several."""
    if weights is not None:
        several = [weights] if isinstance(weights, (str, Path)) else list(weights)
        return [Path(part) for one in several for part in str(one).split(",") if part]
    return [
        find(document, part.strip(), nth(document.place, "weights", i).loc)
        for i, one in enumerate(document.message.weights)
        for part in one.split(",")
        if part.strip()
    ]


def prefix(document: Document, out: str | Path | None) -> str:
    """What names of snapshots start with: snapshot_prefix, or the solver file's name without its suffix.

    A prefix that is a folder gets the solver's name added. With `out`, only the last part counts, in that folder.
    """
    solver = "netspec" if folder_of(document) is None else str(Path(document.file).with_suffix(""))
    given = document.message.snapshot_prefix or solver
    if out is not None:
        return str(Path(out) / Path(given).name)
    return str(Path(given) / Path(solver).name) if Path(given).is_dir() else given
