"""`.solverstate` and `.solverstate.h5`: where training stands, apart from the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netspec.errors import Loc, SpecError
from netspec.spec.binary import replacing
from netspec.weights import hdf5, mapped, wire
from netspec.weights.mapped import Malformed
from netspec.weights.wire import LENGTH, VARINT, BlobWriter

ITER, LEARNED_NET, HISTORY, CURRENT_STEP = 1, 2, 3, 4
MAX_HISTORY = 100_000


@dataclass
class State:
    """Completed iterations, steps of the rate taken, the model file of the same snapshot, and the history blobs.

    History follows the learnable parameters in order: one blob each for SGD, Nesterov, AdaGrad and RMSProp; for
    AdaDelta and Adam all first moments, then all second ones.
    """

    iter: int
    current_step: int = 0
    learned_net: str = ""
    history: list[np.ndarray] = field(default_factory=list)


def read(path: str | Path) -> State:
    """A state of either form, told by the suffix; blobs of the binary form are views of the file."""
    return _read_hdf5(path) if _is_hdf5(path) else _read_binary(path)


def write(path: str | Path, state: State) -> None:
    """Writes a state as Caffe does, in the form the suffix says."""
    if _is_hdf5(path):
        _write_hdf5(path, state)
    else:
        _write_binary(path, state)


def _is_hdf5(path: str | Path) -> bool:
    return Path(path).suffix.lower() in (".h5", ".hdf5")


def _read_binary(path: str | Path) -> State:
    state, known = State(0), False
    with mapped.opened(path, "solverstate") as data:
        for f in wire.fields(data, 0, len(data)):
            if f.number == ITER and f.kind == VARINT:
                state.iter, known = _int32(f.value), True
            elif f.number == CURRENT_STEP and f.kind == VARINT:
                state.current_step = _int32(f.value)
            elif f.number == LEARNED_NET and f.kind == LENGTH:
                state.learned_net = wire.text(data, f)
            elif f.number == HISTORY and f.kind == LENGTH:
                state.history.append(wire.blob(data, f)[0])
            if len(state.history) > MAX_HISTORY:
                raise Malformed(f"more than {MAX_HISTORY} history blobs")
        if not known:
            raise Malformed("it has no iter")
    return state


def _int32(value: int) -> int:
    value &= 2**32 - 1
    if value >> 31:
        raise Malformed(f"a count of {value - 2**32} iterations or steps")
    return value


def _write_binary(path: str | Path, state: State) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(wire.integer(ITER, state.iter) + wire.string(LEARNED_NET, state.learned_net))
        for blob in state.history:
            wire.write_field(file, HISTORY, BlobWriter(blob))
        file.write(wire.integer(CURRENT_STEP, state.current_step))


def _read_hdf5(path: str | Path) -> State:
    with hdf5.opened(path, "solverstate") as file:
        numbers = [hdf5.integer(file, name) for name in ("iter", "current_step")]
        learned_net = hdf5.text(file, "learned_net")
        group = hdf5.group(file, "history")
        names = sorted((n for n in hdf5.members(group) if n.isdecimal()), key=int)
        if [int(n) for n in names] != list(range(len(names))):
            raise SpecError("history blobs are not numbered 0, 1, 2, ...", Loc(str(path)))
        data = mapped.mapping(path, "solverstate")
        return State(numbers[0], numbers[1], learned_net, [hdf5.array(data, group, n) for n in names])


def _write_hdf5(path: str | Path, state: State) -> None:
    with replacing(path) as temporary, hdf5.created(temporary) as file:
        file.create_dataset("iter", data=np.array([state.iter], np.int32))
        hdf5.write_text(file, "learned_net", state.learned_net)
        file.create_dataset("current_step", data=np.array([state.current_step], np.int32))
        group = file.create_group("history")
        for i, blob in enumerate(state.history):
            hdf5.write_array(group, str(i), np.asarray(blob))
