"""Writes a net in Python.

    net = Builder("lenet")
    data, label = net.layer("Data", "data", tops=["data", "label"], source="train_lmdb", backend="LMDB", batch_size=64)
    x = net.layer("Convolution", "conv1", data, num_output=20, kernel_size=5, weight_filler={"type": "xavier"})
    x = net.layer("ReLU", "relu1", x, in_place=True)
    x = net.layer("InnerProduct", "score", x, num_output=10)
    net.layer("SoftmaxWithLoss", "loss", x, label)
    print(net)

A blob is known by its name, so `layer` returns names and takes names: a loop may keep the one it got, or say "conv1".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from google.protobuf.descriptor import FieldDescriptor as FD
from google.protobuf.message import Message

from netspec import schema
from netspec.errors import SpecError, suggestion
from netspec.spec import text

EDGES = ("name", "type", "bottom", "top")
BORROWED = {
    "Deconvolution": ["convolution_param"],
    "Im2col": ["convolution_param"],
    "SoftmaxWithLoss": ["softmax_param"],
    "SigmoidCrossEntropyLoss": ["sigmoid_param"],
    "LSTM": ["recurrent_param"],
    "RNN": ["recurrent_param"],
}
"""Types whose settings stand in a field of another type's name."""


class Builder:
    """A NetParameter that grows by one layer a call: `message` is the net, `str()` its prototxt.

    Keywords of the constructor are fields of the net: `Builder("siamese", force_backward=True)`.
    """

    def __init__(self, name: str = "", **fields: Any) -> None:
        self.message = schema.new("NetParameter", name=name) if name else schema.new("NetParameter")
        self.blobs: dict[str, str] = {}
        """Every blob so far, with the layer that wrote it last."""
        fill(self.message, fields)

    def __str__(self) -> str:
        return text.dump(self.message)

    def document(self) -> text.Document:
        """The net so far with places in its text, as a file would give: `lower(net.document())` is its graph."""
        return text.parse(str(self), f"<{self.message.name or 'net'}>")

    @overload
    def layer(
        self, type: str, name: str, /, *bottoms: str, tops: None = ..., in_place: bool = ..., **settings: Any
    ) -> str: ...

    @overload
    def layer(
        self, type: str, name: str, /, *bottoms: str, tops: Sequence[str], **settings: Any
    ) -> tuple[str, ...]: ...

    def layer(
        self,
        type: str,
        name: str,
        /,
        *bottoms: str,
        tops: Sequence[str] | None = None,
        in_place: bool = False,
        **settings: Any,
    ) -> str | tuple[str, ...]:
        """Appends a layer and returns the name of its top.

        1. The top is named like the layer; with `in_place`, like the first bottom; `tops` names several (or none),
           and then a tuple of them is returned.
        2. A keyword is a field of LayerParameter (`param`, `include`, `loss_weight`, `pooling_param`), else a setting
           of the layer's type: `kernel_size=3` for a Convolution goes to convolution_param.
        3. A dict stands for a message, a list for a repeated field, a name for an enum's value.

        Raises SpecError for a bottom no layer above makes, an unknown field, and a value that does not fit.
        """
        for bottom in bottoms:
            if bottom not in self.blobs:
                near = suggestion(str(bottom), self.blobs)
                raise SpecError(f"layer '{name}' ({type}): no layer above makes its bottom '{bottom}'{near}")
        made = self._tops(type, name, bottoms, tops, in_place)
        layer = schema.new("LayerParameter", name=name, type=type, bottom=bottoms, top=made)
        try:
            configure(layer, settings)
        except SpecError as e:
            raise SpecError(f"layer '{name}' ({type}): {e.message}") from None
        self.message.layer.append(layer)
        self.blobs.update(dict.fromkeys(made, name))
        return made[0] if tops is None else made

    def _tops(
        self, type: str, name: str, bottoms: Sequence[str], tops: Sequence[str] | None, in_place: bool
    ) -> tuple[str, ...]:
        if not in_place:
            return (name,) if tops is None else tuple(tops)
        if tops is not None or not bottoms:
            raise SpecError(f"layer '{name}' ({type}): in_place wants a bottom, and no tops of its own")
        return (bottoms[0],)

    def input(self, name: str, /, **shapes: Sequence[int]) -> tuple[str, ...]:
        """An Input layer with one top per keyword: `data, = net.input("input", data=(1, 3, 500, 500))`."""
        return self.layer("Input", name, tops=list(shapes), shape=[{"dim": list(s)} for s in shapes.values()])

    def python(self, name: str, tops: Sequence[str], layer: str, /, **params: Any) -> tuple[str, ...]:
        """A Python layer `module.Class`; `params` become its param_str, a dict literal, in the order given."""
        module, _, cls = layer.rpartition(".")
        return self.layer("Python", name, tops=tops, module=module, layer=cls, param_str=repr(params))


def settings_fields(type: str) -> list[str]:
    """The fields of LayerParameter that hold a type's settings.

    Its own, which is the type's name in lower case with `_param` (InnerProduct -> inner_product_param);
    loss_param for losses, transform_param for data.
    """
    plain = type.lower().replace("_", "")
    own = [name for name in layer_fields() if name.replace("_", "") == f"{plain}param"]
    shared = ["loss_param"] * type.endswith("Loss") + ["transform_param"] * type.endswith("Data")
    return [*own, *BORROWED.get(type, []), *shared]


def layer_fields() -> dict[str, Any]:
    """What a layer may be given by keyword: every field of LayerParameter but its name, type and edges."""
    fields = schema.message_class("LayerParameter").DESCRIPTOR.fields_by_name
    return {name: field for name, field in fields.items() if name not in EDGES}


def configure(layer: Any, settings: Mapping[str, Any]) -> None:
    """Sets keywords on a LayerParameter: its own fields, else those of its type's settings."""
    direct = layer_fields()
    homes = {f.name: home for home in settings_fields(layer.type)[::-1] for f in direct[home].message_type.fields}
    for name in settings:
        if name not in direct and name not in homes:
            raise SpecError(f"no setting '{name}'{suggestion(name, [*homes, *direct])}")
    fill(layer, {name: value for name, value in settings.items() if name in direct})
    for name, value in settings.items():
        if name not in direct:
            fill(getattr(layer, homes[name]), {name: value})


def fill(message: Any, fields: Mapping[str, Any]) -> None:
    """Sets fields by name; a value of None leaves the field out."""
    for name, value in fields.items():
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            near = schema.did_you_mean(message, name)
            raise SpecError(f"{message.DESCRIPTOR.name} has no field '{name}'{near}")
        if value is None:
            continue
        many = text.is_repeated(field)
        try:
            for one in value if many and isinstance(value, (list, tuple)) else [value]:
                put(message, field, one, many)
        except (TypeError, ValueError) as e:
            raise SpecError(f"field '{name}': {e}") from None


def put(message: Any, field: FD, value: Any, many: bool) -> None:
    """Sets or appends one value: a message from a dict or a message, an enum from its name or number, or a scalar."""
    if field.message_type is not None:
        inner = getattr(message, field.name).add() if many else getattr(message, field.name)
        inner.SetInParent()
        if isinstance(value, Message):
            inner.MergeFrom(value)
        elif isinstance(value, Mapping):
            fill(inner, value)
        else:
            raise TypeError(f"expected a dict, found {value!r}")
        return
    if field.enum_type is not None and isinstance(value, str):
        value = text.enum_value(field, value, "word")
    if many:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)
