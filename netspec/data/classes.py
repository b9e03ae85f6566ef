"""Class names of the published data sets, in label order."""

from __future__ import annotations

VOID = 255


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in text.split())


VOC_CLASSES = _names(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)

PASCAL_CONTEXT_CLASSES = VOC_CLASSES + _names(
    "bag bed bench book building cabinet ceiling clothes computer cup door fence floor flower food grass ground "
    "keyboard light mountain mouse curtain platform sign plate road rock shelves sidewalk sky snow bedcloth track "
    "tree truck wall water window wood"
)

NYUD_CLASSES = _names(
    "wall floor cabinet bed chair sofa table door window bookshelf picture counter blinds desk shelves curtain dresser "
    "pillow mirror floor_mat clothes ceiling books refrigerator television paper towel shower_curtain box whiteboard "
    "person night_stand toilet sink lamp bathtub bag otherstructure otherfurniture otherprop"
)

SIFTFLOW_CLASSES = _names(
    "awning balcony bird boat bridge building bus car cow crosswalk desert door fence field grass moon mountain person "
    "plant pole river road rock sand sea sidewalk sign sky staircase streetlight sun tree window"
)

SIFTFLOW_GEOMETRY = _names("sky horizontal vertical")
