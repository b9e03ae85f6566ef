"""Fields of forks that would change a layer's values and that no layer here honours: refused by name, never ignored."""

from __future__ import annotations

from typing import Any

from netspec.errors import LayerError
from netspec.spec.text import is_repeated

UNHONOURED = {
    "concat_param": ("per_fla_fuse",),
    "convolution_param": ("fuse_type", "relu_param"),
    "crop_param": ("blob_name",),
    "detection_output_param": ("biases", "coords"),
    "elu_param": ("lambda",),
    "loss_param": ("label_smoothing", "only_care_label"),
    "lrn_param": ("fuse_type", "pooling_param"),
}
OF_THE_LAYER = ("context_pad", "crop_mode", "data_blob", "datum_dims", "input_shape", "subtraction")
"""Fields of LayerParameter itself, of forks' data layers."""
HONOURED_BY = {
    ("loss_param", field): ("SoftmaxWithLoss", "SoftmaxWithLossOHEM")
    for field in ("weight_by_label_freqs", "class_weighting")
}
"""Fields that other types than these ignore."""


def check_honoured(proto: Any) -> None:
    """Raises for the first field that is given another value than its default."""
    for field, value in proto.ListFields():
        if field.name in OF_THE_LAYER:
            raise LayerError(f"{field.name} is not supported", field=field.name)
        if field.message_type is not None and not is_repeated(field):
            _check_settings(proto.type, field.name, value)


def _check_settings(type: str, settings: str, param: Any) -> None:
    for field, value in param.ListFields():
        refused = field.name in UNHONOURED.get(settings, ())
        elsewhere = type not in HONOURED_BY.get((settings, field.name), (type,))
        if (refused or elsewhere) and (field.message_type is not None or value != field.default_value):
            message = f"{field.name} is not supported" + f" by {type}" * (elsewhere and not refused)
            raise LayerError(message, field=f"{settings}.{field.name}")
