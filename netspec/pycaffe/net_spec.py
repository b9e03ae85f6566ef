"""NetSpec: nets written as Python expressions.

    n = NetSpec()
    n.data, n.label = layers.Data(source="train_lmdb", batch_size=64, ntop=2)
    n.conv1 = layers.Convolution(n.data, num_output=20, kernel_size=5)
    n.relu1 = layers.ReLU(n.conv1, in_place=True)
    print(n.to_proto())

A top knows the call that made it, so the net is whatever the named tops need. Names come from the assignments; tops and
layers without one are called after their type, with a number.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from netspec import schema
from netspec.errors import SpecError, suggestion
from netspec.pycaffe.errors import NoTopError
from netspec.pycaffe.proto import caffe_pb2
from netspec.spec import builder, text


class Top:
    """The n-th top of a call; `fn` is the call."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> Any:
        """The net that makes this top."""
        return to_proto(self)


class Function:
    """One layer: its type, the tops it reads (`inputs`), its settings (`params`), the tops it makes."""

    def __init__(self, type_name: str, inputs: tuple[Any, ...], params: dict[str, Any]) -> None:
        for number, top in enumerate(inputs):
            if not isinstance(top, Top):
                raise TypeError(f"{type_name} input {number} is not a Top (type is {type(top)})")
        self.type_name = type_name
        self.inputs: tuple[Top, ...] = inputs
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def to_proto(self) -> Any:
        """The net of this layer and what it needs."""
        return to_proto(self)


class Writer:
    """Layers in the order they can run, each once."""

    def __init__(self, names: dict[Top, str]) -> None:
        self.names: dict[Top | Function, str] = dict(names)
        self.numbers: Counter[str] = Counter()
        self.layers: OrderedDict[Function, Any] = OrderedDict()

    def write(self, fn: Function) -> Any:
        """The layer of a call, after all it reads."""
        if fn in self.layers:
            return self.layers[fn]
        bottoms = [self.write(top.fn).top[top.n] for top in fn.inputs]
        tops = bottoms if fn.in_place else [self.name(top, fn.type_name) for top in fn.tops]
        layer = schema.new("LayerParameter", type=fn.type_name, bottom=bottoms, top=tops)
        layer.name = fn.params.get("name") or self.name(fn.tops[0] if fn.tops else fn, fn.type_name)
        settings = {key: value for key, value in fn.params.items() if key != "name"}
        try:
            builder.configure(layer, settings)
        except SpecError as e:
            raise AttributeError(f"layer '{layer.name}' ({layer.type}): {e.message}") from None
        self.layers[fn] = layer
        return layer

    def name(self, thing: Top | Function, type_name: str) -> str:
        if thing not in self.names:
            self.numbers[type_name] += 1
            self.names[thing] = f"{type_name}{self.numbers[type_name]}"
        return self.names[thing]

    def net(self) -> Any:
        net = schema.new("NetParameter", layer=self.layers.values())
        type(net).__str__ = caffe_text
        return net


def caffe_text(message: Any) -> str:
    """The message as the protobuf of Caffe's days prints it: floats as Python prints their double."""
    return text.dump(message, lambda field, v: repr(v) if isinstance(v, float) else text.scalar_text(field, v))


def to_proto(*tops: Top | Function) -> Any:
    """The net that makes some tops, all names made up."""
    writer = Writer({})
    for top in tops:
        writer.write(top.fn if isinstance(top, Top) else top)
    return writer.net()


class NetSpec:
    """A net by its named tops: attributes or items, kept in the order they were set."""

    tops: OrderedDict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        tops = self.__dict__.get("tops", {})
        if name not in tops:
            raise NoTopError(f"the net has no top '{name}'{suggestion(name, tops)}")
        return tops[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getitem__(self, name: str) -> Any:
        return self.tops[name]

    def __delitem__(self, name: str) -> None:
        del self.tops[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tops

    def to_proto(self) -> Any:
        """The NetParameter; `str()` of it is the prototxt."""
        writer = Writer({top: name for name, top in self.tops.items()})
        for top in self.tops.values():
            writer.write(top.fn if isinstance(top, Top) else top)
        return writer.net()


def layer(type_name: str) -> Callable[..., Any]:
    """`layers.Convolution`: a call with bottoms and settings gives the top, several of them, or with ntop=0 itself."""

    def call(*inputs: Any, **params: Any) -> Any:
        fn = Function(type_name, inputs, params)
        return fn.tops[0] if fn.ntop == 1 else fn.tops if fn.tops else fn

    call.__name__ = type_name
    return call


class Layers:
    """Any layer type as an attribute."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return layer(name)


class Enums:
    """The enum values of a message as attributes: `params.Pooling.MAX`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, value: str) -> int:
        return getattr(getattr(caffe_pb2, f"{self.name}Parameter"), value)


class Parameters:
    """Messages by their name without "Parameter"."""

    def __getattr__(self, name: str) -> Enums:
        return Enums(name)


layers = Layers()
params = Parameters()
