"""needs_backward: where gradients flow, where they stop, and what is refused."""

from __future__ import annotations

import pytest
from pass_nets import input, ip, layer, running, tables

from netspec.errors import SpecError

FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
START = input("x", 2, 3) + input("t", 2, 3)
LOSS = layer("EuclideanLoss", "loss", "c t")


def runs(source: str, phase: str = "TRAIN") -> list[str]:
    bound, _, _, needs = tables(source, phase)
    return running(bound, needs)


def test_frozen_layers_run_only_below_learned_ones():
    assert runs(START + ip("a", "x", 3, FROZEN) + ip("b", "a") + ip("c", "b", 3, FROZEN) + LOSS) == ["b", "c", "loss"]
    assert runs(START + ip("a", "x", 3, FROZEN) + layer("TanH", "c", "a") + LOSS) == []


def test_what_no_loss_depends_on_does_not_run():
    assert runs(START + ip("a", "x") + ip("c", "a") + LOSS + ip("side", "a")) == ["a", "c", "loss"]
    assert runs(START + ip("a", "x")) == []


def test_propagate_down_cuts_off_what_lies_below():
    cut = ip("a", "x") + layer("ReLU", "r", "a", "a") + ip("c", "a", 3, "propagate_down: false")
    assert runs(START + cut + LOSS) == ["c", "loss"]
    assert runs(START + cut + LOSS + layer("EuclideanLoss", "second", "a t")) == ["a", "r", "c", "loss", "second"]


def test_propagate_down_reaches_inputs():
    _, _, _, needs = tables(START + ip("c", "x", 3, "propagate_down: true") + LOSS)
    assert needs.bottoms[2:] == ((True,), (True, False))


def test_force_backward():
    source = "force_backward: true " + START + ip("c", "x", 3, FROZEN + " propagate_down: false") + LOSS
    bound, _, _, needs = tables(source)
    assert all(needs.layers)
    assert needs.bottoms[2:] == ((True,), (True, True))
    assert needs.params[2] == (True, True)
    assert needs.refused == ()


LABELS = input("x", 2, 3) + ip("s", "x") + ip("label", "x", 1)


@pytest.mark.parametrize(
    ("source", "bottom"),
    [
        (LABELS + layer("HingeLoss", "l", "s label"), "label"),
        (
            LABELS + layer("Threshold", "c", "s") + ip("d", "c") + layer("Reduction", "l", "d", None, "loss_weight: 1"),
            "s",
        ),
        (LABELS + layer("ArgMax", "l", "s", None, "loss_weight: 1"), "s"),
        (LABELS + layer("Filter", "l", "s label", None, "loss_weight: 1"), "label"),
    ],
)
def test_gradients_that_cannot_flow(source, bottom):
    """An error at once in training; a test net stands as long as nobody runs it backward."""
    with pytest.raises(
        SpecError, match=f"no gradient can flow to bottom '{bottom}', but a learned layer makes it"
    ) as e:
        tables(source)
    assert e.value.loc is not None and e.value.loc.line == 4 and e.value.loc.col > 1
    _, _, _, needs = tables(source, "TEST")
    assert [str(r) for r in needs.refused] == [str(e.value)]


def test_propagate_down_settles_it():
    source = LABELS + layer("HingeLoss", "l", "s label", None, "propagate_down: [true, false]")
    assert tables(source)[3].refused == ()


def test_force_backward_passes_labels_by_but_not_types_without_backward():
    source = "force_backward: true " + input("x", 2, 3) + input("t", 2)
    assert tables(source + layer("HingeLoss", "l", "x t"))[3].refused == ()
    needs = tables(source + layer("ArgMax", "a", "x") + layer("BatchReindex", "b", "x t"))[3]
    assert needs.bottoms[2:] == ((False,), (True, False))
    assert [e.loc.line for e in needs.refused if e.loc] == [3, 4]
    assert all("but force_backward asks for one" in e.message for e in needs.refused)


def test_types_that_give_none_in_silence():
    """A reference for Crop's size is learned in every FCN."""
    source = input("x", 1, 1, 4, 4) + input("t", 1, 1, 4, 4)
    conv = "convolution_param { num_output: 1 kernel_size: 1 }"
    source += layer("Convolution", "a", "x", None, conv) + layer("Convolution", "b", "x", None, conv)
    needs = tables(source + layer("Crop", "c", "a b") + LOSS)[3]
    assert needs.bottoms[4] == (True, False)
    assert needs.refused == ()
