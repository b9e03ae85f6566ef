"""Fields of forks that would change a layer's values and that no layer here honours: refused by name, never ignored."""

from __future__ import annotations

from typing import Any

from netspec.errors import LayerError

UNHONOURED = {
    "concat_param": ("per_fla_fuse",),
    "convolution_param": ("fuse_type", "relu_param"),
    "crop_param": ("blob_name",),
    "detection_output_param": ("biases", "coords"),
    "elu_param": ("lambda",),
    "loss_param": ("label_smoothing", "only_care_label"),
    "lrn_param": ("fuse_type", "pooling_param"),
}


def check_honoured(proto: Any) -> None:
    """Raises for the first field that is given another value than its default."""
    for settings, names in UNHONOURED.items():
        param = getattr(proto, settings)
        for field, value in param.ListFields() if proto.HasField(settings) else ():
            if field.name in names and (field.message_type is not None or value != field.default_value):
                raise LayerError(f"{field.name} is not supported", field=f"{settings}.{field.name}")
