"""Colours and sizes of pictures, and how wide a text is.

Sizes are in pixels of a picture that is not zoomed. Texts are measured with the font that comes with Pillow and given
some slack, since a browser may take another.
"""

from __future__ import annotations

import re
from functools import lru_cache

from PIL import ImageFont

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
SLACK = 1.06
TITLE, SMALL, LABEL, HEADING = 12, 10, 9.5, 17
LINE = {TITLE: 16, SMALL: 14}

# What a layer does, by its type; the first that fits.
KINDS = (
    ("loss", r"Loss|Accuracy|Silence|Evaluate|Eval"),
    ("data", r"Data$|^Input$|^Parameter$"),
    ("upsampling", r"Deconv|Upsampl|Unpool|Interp"),
    ("pooling", r"Pool|^SPP$"),
    ("learned", r"Conv|InnerProduct|Embed|LSTM|RNN|Recurrent"),
    ("norm", r"Norm|^BN|^Scale$|^Bias$|LRN|MVN"),
    ("activation", r"ReLU|^ELU$|Sigmoid|TanH|Softmax|Swish|BNLL|SELU|Dropout|Power|Exp|Log|AbsVal|Threshold|Clip"),
    ("joining", r"Eltwise|Concat|^Axpy$"),
)
WORDS = {
    "data": "data",
    "learned": "learned",
    "pooling": "pooling",
    "upsampling": "upsampling",
    "norm": "normalisation",
    "activation": "activation",
    "joining": "joining",
    "other": "other",
    "loss": "loss and scores",
}
STATUSES = {"added": "added", "removed": "removed", "changed": "changed", "moved": "renamed or moved"}

# Fill and line of each kind.
LIGHT = {
    "data": ("#e4f1e6", "#5a9a66"),
    "learned": ("#e6eefa", "#5b84c4"),
    "pooling": ("#fbeede", "#cc8b3c"),
    "upsampling": ("#eee7f8", "#8a6bbf"),
    "norm": ("#eef2f4", "#8496a3"),
    "activation": ("#f4f4ee", "#a0a085"),
    "joining": ("#e2f2f3", "#4a9aa3"),
    "other": ("#f2f2f2", "#999999"),
    "loss": ("#fae5e6", "#c46268"),
    "same": ("#f5f6f7", "#b3bac1"),
    "added": ("#ddf3e1", "#2f9447"),
    "removed": ("#fbe1df", "#cf4a43"),
    "changed": ("#fff1cf", "#c98f13"),
    "moved": ("#e3ecfb", "#4d79c2"),
    "paper": ("#ffffff", "#ffffff"),
    "block": ("#fafbfc", "#c9d0d6"),
    "wire": ("#7d8893", "#7d8893"),
    "text": ("#1f2933", "#1f2933"),
    "dim": ("#5f6c78", "#5f6c78"),
}
DARK = {
    "data": ("#1f3526", "#6db27c"),
    "learned": ("#1f2d45", "#7ba0dd"),
    "pooling": ("#3d2e1a", "#d9a05a"),
    "upsampling": ("#30274a", "#a98be0"),
    "norm": ("#272e34", "#8c9dab"),
    "activation": ("#2e2e27", "#a8a88c"),
    "joining": ("#1b3639", "#63b6bf"),
    "other": ("#2c2e31", "#8f959b"),
    "loss": ("#42252a", "#dd7f86"),
    "same": ("#23272c", "#5d666f"),
    "added": ("#173a22", "#4fb869"),
    "removed": ("#45211f", "#ea7b74"),
    "changed": ("#41340f", "#dcb040"),
    "moved": ("#1f3050", "#7ea5e8"),
    "paper": ("#16191d", "#16191d"),
    "block": ("#1b1f24", "#424b54"),
    "wire": ("#8a96a2", "#8a96a2"),
    "text": ("#e6eaee", "#e6eaee"),
    "dim": ("#a0acb7", "#a0acb7"),
}


def kind_of(type: str) -> str:
    """What a layer of a type does: one of `WORDS`."""
    return next((kind for kind, pattern in KINDS if re.search(pattern, type)), "other")


@lru_cache(maxsize=16384)
def width(text: str, size: float, bold: bool = False) -> float:
    """Pixels that a text takes."""
    return _font(size).getlength(text) * SLACK * (1.05 if bold else 1)


@lru_cache(maxsize=16)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def cut(text: str, most: int) -> str:
    """A text of at most so many characters, its middle left out."""
    return text if len(text) <= most else f"{text[: most - most // 3 - 1]}…{text[-(most // 3) :]}"
