"""`.py`: a plan as a PyTorch module in source that needs torch alone, with its weights in a `.pt` of the same name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from netspec.errors import Loc, SpecError
from netspec.export import helpers
from netspec.export.blocks import Block, BlockClass, find_blocks
from netspec.export.forms import REQUIRED, Arg, Member
from netspec.export.picture import Picture
from netspec.export.plan import Plan
from netspec.export.source import arguments, class_name, docstring, identifier, laid_out, unused
from netspec.export.statements import Statement, statements
from netspec.ir.graph import Blob

State = dict[str, np.ndarray]


def write(plan: Plan, path: Path, picture: Picture | None = None) -> list[Path]:
    """Writes the module and the state_dict beside it."""
    module = make_module(plan, picture)
    path.write_text(module.text(path.stem), encoding="utf-8")
    beside = path.with_suffix(".pt")
    torch.save(tensors(module.state), beside)
    return [path, beside]


def tensors(state: State) -> dict[str, torch.Tensor]:
    """The values as tensors of the same memory, to be read only: of that, torch warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return {k: torch.from_numpy(np.ascontiguousarray(v).reshape(v.shape)) for k, v in state.items()}


@dataclass
class Module:
    """The parts of the file."""

    name: str
    about: list[str]
    inputs: list[str]
    example: list[str]
    outputs: dict[str, str]
    init: list[str] = field(default_factory=list)
    forward: list[str] = field(default_factory=list)
    classes: list[list[str]] = field(default_factory=list)
    helpers: list[str] = field(default_factory=list)
    state: State = field(default_factory=dict)

    def text(self, stem: str) -> str:
        """The whole file."""
        returns = "Tensor" if len(self.outputs) == 1 else "dict[str, Tensor]"
        signature = f"def forward(self, {', '.join(f'{i}: Tensor' for i in self.inputs)}) -> {returns}:"
        forward = list(self.forward)
        if len(self.outputs) == 1:
            result = next(iter(self.outputs.values()))
            last, _, value = forward[-1].partition(" = ") if forward else ("", "", "")
            forward = forward[:-1] if last == result else forward
            result = f"return {value if last == result else result}"
        else:
            result = "return {" + ", ".join(f"{json.dumps(k)}: {v}" for k, v in self.outputs.items()) + "}"
        blocks = [helpers.source(name) for name in self.helpers] + self.classes
        body = [line for text in forward for line in laid_out(text, 2)]
        net = [f"class {self.name}(nn.Module):", *docstring(self.about[:1], 1), ""]
        net += ["    def __init__(self) -> None:", "        super().__init__()"]
        net += [line for text in self.init for line in laid_out(text, 2)]
        net += [
            "",
            *signature_lines(signature),
            *body,
            *(dictionary(result, 2) if result.startswith("return {") else laid_out(result, 2)),
        ]
        parts = ["\n".join(part) for part in [*blocks, net, self.loader(), self.main()]]
        uses = "F." in "\n".join(parts)
        imports = ["from pathlib import Path", "", "import torch"]
        imports += ["import torch.nn.functional as F"] if uses else []
        head = [*docstring([*self.about, "", *usage(stem)]), "", *imports, "from torch import Tensor, nn"]
        return "\n\n\n".join(["\n".join(head), *parts]) + "\n"

    def loader(self) -> list[str]:
        return [
            *laid_out(f"def load(weights: str | Path | None = None) -> {self.name}:"),
            '    """The net with its weights, by default those beside this file."""',
            f"    net = {self.name}()",
            '    path = Path(__file__).with_suffix(".pt") if weights is None else weights',
            '    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))',
            "    return net.eval()",
        ]

    def main(self) -> list[str]:
        lines = ['if __name__ == "__main__":', "    with torch.inference_mode():"]
        lines += laid_out(f"outputs = load()({', '.join(self.example)})", 2)
        if len(self.outputs) == 1:
            return [*lines, f"    print({json.dumps(next(iter(self.outputs)))}, tuple(outputs.shape))"]
        return [*lines, "    for name, value in outputs.items():", "        print(name, tuple(value.shape))"]


def usage(stem: str) -> list[str]:
    module = stem if stem.isidentifier() else "..."
    return [f"    from {module} import load", "", "    net = load()"]


def signature_lines(text: str) -> list[str]:
    return laid_out_signature(text) if len(text) + 4 > 88 else ["    " + text]


def laid_out_signature(text: str) -> list[str]:
    """The parameters of a function on a line of their own, or each on one."""
    head, rest = text.split("(", 1)
    inside, tail = rest.rsplit(") ->", 1)
    if len(inside) + 8 <= 88:
        return [f"    {head}(", f"        {inside}", f"    ) ->{tail}"]
    return [f"    {head}(", *(f"        {p}," for p in inside.split(", ")), f"    ) ->{tail}"]


def dictionary(text: str, indent: int) -> list[str]:
    """`return {...}`, each entry on a line if it is long."""
    pad = "    " * indent
    if len(pad) + len(text) <= 88:
        return [pad + text]
    entries = arguments(text[len("return {") : -1])
    return [pad + "return {", *(f"{pad}    {entry}," for entry in entries), pad + "}"]


def make_module(plan: Plan, picture: Picture | None) -> Module:
    """The file's parts from a plan."""
    found, used, same = statements(plan)
    outputs = {name: same.get(b, b) for name, b in plan.results.items()}
    classes = find_blocks(found, plan.inputs, list(outputs.values()))
    writer = Writer(found, plan, outputs, classes)
    writer.begin(picture)
    writer.body()
    name = unused(class_name(plan.name), [c.name for c in classes])
    return Module(
        name=name,
        about=about(plan, picture),
        inputs=[writer.names[b] for b in plan.inputs] if not picture else [f"{b.name}" for b in plan.inputs],
        example=[example(plan, b, picture) for b in plan.inputs],
        outputs={k: writer.names[b] for k, b in outputs.items()},
        init=writer.init,
        forward=writer.forward,
        classes=[block_source(c) for c in classes],
        helpers=sorted(used),
        state=writer.state,
    )


def about(plan: Plan, picture: Picture | None) -> list[str]:
    """The module's docstring: where it comes from, what it takes and gives."""
    lines = [f"{plan.name}, converted from Caffe.", ""]
    for blob in plan.inputs:
        sizes = [n or str(s) for n, s in zip(plan.axes[blob], plan.shapes[blob], strict=True)]
        if picture:
            shape = " x ".join(str(s) for s in picture.shape(plan.axes[blob]))
            lines.append(f"Takes `{blob.name}`: pictures, {shape}, uint8, red, green, blue.")
        else:
            lines.append(f"Takes `{blob.name}`: {' x '.join(sizes)}.")
    for name, blob in plan.results.items():
        sizes = [n or str(s) for n, s in zip(plan.axes[blob], plan.shapes[blob], strict=True)]
        lines.append(f"Gives `{name}`: {' x '.join(sizes)}.")
    return lines


def example(plan: Plan, blob: Blob, picture: Picture | None) -> str:
    shape = plan.trials[0][blob.name]
    if picture:
        return f"torch.zeros({shape[0]}, {shape[2]}, {shape[3]}, 3, dtype=torch.uint8)"
    return f"torch.zeros({', '.join(map(str, shape)) or '()'})"


class Writer:
    """Gives members and values their names, and gathers the lines of `__init__` and `forward`."""

    def __init__(
        self, found: Sequence[Statement], plan: Plan, outputs: Mapping[str, Blob], classes: Sequence[BlockClass]
    ) -> None:
        self.found, self.plan, self.outputs = list(found), plan, outputs
        self.starts = {id(b.statements[0]): (b, c) for c in classes for b in c.blocks}
        self.inside = {id(s) for c in classes for b in c.blocks for s in b.statements}
        self.names: dict[Blob, str] = {}
        self.members: dict[str, str] = {}
        self.init: list[str] = []
        self.forward: list[str] = []
        self.state: State = {}
        self.reads: Counter[Blob] = Counter()

    def begin(self, picture: Picture | None) -> None:
        """The inputs, and what makes them of pictures."""
        for blob in self.plan.inputs:
            self.names[blob] = identifier(blob.name, self.is_value, "x")
        if picture is None:
            return
        mean = picture.values
        self.state["mean"] = mean
        self.init.append(f'self.register_buffer("mean", torch.empty({", ".join(map(str, mean.shape))}))')
        for blob in self.plan.inputs:
            name = self.names[blob]
            text = f"{name}.permute(0, 3, 1, 2).flip(1).float() - self.mean"
            self.forward.append(f"{name} = {text if picture.scale == 1 else f'({text}) * {picture.scale!r}'}")

    def is_value(self, name: str) -> bool:
        return name in self.names.values() or name in ("self", "torch", "nn", "F", "x")

    def body(self) -> None:
        """All statements, blocks as calls of their class."""
        steps = list(self.steps())
        self.reads = Counter(b for s, _ in steps for b in s.reads) + Counter(self.outputs.values())
        for number, (statement, block) in enumerate(steps):
            following = steps[number + 1][0].reads if number + 1 < len(steps) else ()
            if block is None:
                text = statement.expr.format(*self.read(statement), **self.member_names(statement))
            else:
                text = f"self.{self.add_block(*block)}({self.names[statement.reads[0]]})"
            alone = following if len(statement.tops) == 1 else ()
            self.forward.append(f"{', '.join(self.value(t, alone) for t in statement.tops)} = {text}")

    def steps(self) -> Iterator[tuple[Statement, tuple[Block, BlockClass] | None]]:
        """Statements, with blocks as statements of their own."""
        for statement in self.found:
            if id(statement) in self.starts:
                block, cls = self.starts[id(statement)]
                names = tuple(name for s in block.statements for name in s.layers)
                yield Statement("", (block.top,), (block.source,), (), names, False), (block, cls)
            elif id(statement) not in self.inside:
                yield statement, None

    def read(self, statement: Statement) -> list[str]:
        return [self.names[b] for b in statement.reads]

    def value(self, blob: Blob, following: Sequence[Blob]) -> str:
        """`x` for what the next statement alone reads, else the blob's name."""
        reads = self.reads[blob]
        if reads == following.count(blob) and reads:
            name = "x"
        elif not reads:
            name = "_"
        else:
            last = [n for b, n in self.names.items() if b.name == blob.name and n != "x"]
            name = last[-1] if last else identifier(blob.name, self.is_value, "x")
        self.names[blob] = name
        return name

    def member_names(self, statement: Statement) -> dict[str, str]:
        """Adds the members to `__init__`; how the expression calls them."""
        out = {}
        for i, (layer, member) in enumerate(statement.members):
            out[f"m{i}"] = "self." + self.add_member(layer, member)
        return out

    def add_member(self, layer: str, member: Member) -> str:
        wanted = f"{layer}_{member.name}" if member.name else layer
        if wanted in self.members:
            return self.members[wanted]
        name = identifier(wanted, self.is_member, "layer")
        self.members[wanted] = name
        self.init.append(f"self.{name} = {constructed(member)}")
        add_state(self.state, name, member)
        return name

    def is_member(self, name: str) -> bool:
        return name in self.members.values() or hasattr(nn.Module, name) or name == "mean" or name.startswith("_")

    def add_block(self, block: Block, cls: BlockClass) -> str:
        name = identifier(block.name, self.is_member, "block")
        self.members[f"block {name}"] = name
        place = cls.blocks.index(block)
        self.init.append(f"self.{name} = {cls.name}({', '.join(str(v[place]) for v in cls.arguments.values())})")
        rows = [m for s in block.statements for _, m in s.members]
        for inner, member in zip(cls.members, rows, strict=True):
            add_state(self.state, f"{name}.{inner}", member)
        return name


def add_state(state: State, name: str, member: Member) -> None:
    for attribute, value in member.state.items():
        state[f"{name}.{attribute}" if attribute else name] = value


def constructed(member: Member, bound: Mapping[str, str] | None = None) -> str:
    """The constructor's call; arguments that have their default are left out."""
    parts = [argument(a, (bound or {}).get(a.name)) for a in member.args]
    return f"{member.constructor}({', '.join(p for p in parts if p)}{member.end}"


def argument(arg: Arg, name: str | None) -> str:
    if name is None and arg.default is not REQUIRED and arg.value == arg.default:
        return ""
    value = name or repr(arg.value)
    return f"{arg.name}={value}" if arg.default is not REQUIRED else value


def block_source(cls: BlockClass) -> list[str]:
    """The class of a kind of blocks."""
    first = cls.blocks[0]
    types = {
        name: "int" if all(isinstance(v, int) for v in values) else "Any" for name, values in cls.arguments.items()
    }
    signature = f"def __init__({', '.join(['self', *(f'{n}: {t}' for n, t in types.items())])}) -> None:"
    names = [b.name for b in cls.blocks]
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) < 5 else f"{names[0]} to {names[-1]}"
    lines = [f"class {cls.name}(nn.Module):", *docstring([f"The form of {listed}."], 1), ""]
    lines += [*signature_lines(signature), "        super().__init__()"]
    rows = [m for s in first.statements for _, m in s.members]
    for number, (name, member) in enumerate(zip(cls.members, rows, strict=True)):
        bound = {arg: to for (n, arg), to in cls.bound.items() if n == number}
        lines += laid_out(f"self.{name} = {constructed(member, bound)}", 2)
    return [*lines, "", "    def forward(self, x: Tensor) -> Tensor:", *block_body(cls, first)]


def block_body(cls: BlockClass, block: Block) -> list[str]:
    """The forward of a block; values are named by the member that makes them."""
    names: dict[Blob, str] = {block.source: "x"}
    reads = Counter(b for s in block.statements for b in s.reads)
    lines, number = [], 0
    for place, statement in enumerate(block.statements):
        members = {}
        for i in range(len(statement.members)):
            members[f"m{i}"], number = f"self.{cls.members[number]}", number + 1
        text = statement.expr.format(*(names[b] for b in statement.reads), **members)
        if statement is block.statements[-1]:
            lines += laid_out(f"return {text}", 2)
            break
        following = block.statements[place + 1].reads
        for top in statement.tops:
            alone = reads[top] == following.count(top)
            names[top] = (
                "y" if alone and len(following) == 1 and len(statement.tops) == 1 else branch_name(cls, members, names)
            )
        lines += laid_out(f"{', '.join(names[t] for t in statement.tops)} = {text}", 2)
    return lines


def branch_name(cls: BlockClass, members: Mapping[str, str], names: Mapping[Blob, str]) -> str:
    """The name of a value inside a block: that of the last member, without its kind, else `branch`."""
    last = list(members.values())[-1].removeprefix("self.") if members else "pooled"
    for kind in ("conv_", "bn_", "res_", "fc_"):
        last = last.removeprefix(kind)
    return unused(identifier(last, lambda n: n in ("x", "y", "self"), "branch"), names.values())


def run(path: Path, trials: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The outputs of the file in a process of its own, which sees torch and the file alone."""
    with tempfile.TemporaryDirectory() as folder:
        for i, trial in enumerate(trials):
            np.savez(Path(folder) / f"in{i}.npz", *trial.values())
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        command = [sys.executable, "-c", RUNNER, str(path), folder, str(len(trials)), str(torch.get_num_threads())]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise SpecError(f"the module does not run by itself: {last[0]}", Loc(str(path)))
        out = []
        for i in range(len(trials)):
            with np.load(Path(folder) / f"out{i}.npz") as arrays:
                names = json.loads(str(arrays["names"]))
                out.append({name: arrays[f"a{j}"] for j, name in enumerate(names)})
        return out


RUNNER = """
import importlib.util, json, sys
import numpy as np, torch
path, folder, count, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
spec = importlib.util.spec_from_file_location("standalone", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
net = module.load()
assert "netspec" not in sys.modules
for i in range(int(count)):
    with np.load(f"{folder}/in{i}.npz") as arrays, torch.inference_mode():
        outputs = net(*(torch.from_numpy(arrays[k]) for k in arrays.files))
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    values = {f"a{j}": v.numpy() for j, v in enumerate(outputs.values())}
    np.savez(f"{folder}/out{i}.npz", names=json.dumps(list(outputs)), **values)
"""


def make_net(plan: Plan, picture: Picture | None = None) -> nn.Module:
    """The module itself, made from its source, with its weights."""
    module = make_module(plan, picture)
    space: dict[str, Any] = {"__name__": "standalone"}
    exec(compile(module.text("standalone"), "<standalone>", "exec"), space)
    with torch.device("meta"):  # its values are those of the net, not new ones
        net = space[module.name]()
    net.load_state_dict(tensors(module.state), assign=True)
    return net.eval()
