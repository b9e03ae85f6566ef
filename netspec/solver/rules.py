"""Caffe's six update rules, on many arrays at once, each array read and written as few times as possible.

With g = scale * gradient + decay * w (L2) or + decay * sign(w) (L1), h a history blob, r = rate * lr_mult:

    SGD       h = m h + r g                     w -= h
    Nesterov  h' = m h + r g                    w -= (1 + m) h' - m h
    AdaGrad   h += g^2                          w -= r g / (sqrt(h) + delta)
    RMSProp   h = d h + (1 - d) g^2             w -= r g / (sqrt(h) + delta)
    AdaDelta  h = m h + (1 - m) g^2             u = g sqrt((k + delta) / (h + delta))
              k = m k + (1 - m) u^2             w -= r u
    Adam      h = m h + (1 - m) g               k = m2 k + (1 - m2) g^2
              w -= r sqrt(1 - m2^t) / (1 - m^t) h / (sqrt(k) + delta),  t = iteration + 1

The rate is inside the velocity of SGD and Nesterov: a rate that changes acts on later gradients only, and what has
lr_mult 0 keeps a history of zeros. The history of the other rules knows no rate: what has lr_mult 0 stays where it is,
while its decay, and its gradient where force_backward makes one, enter the history that state files hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from netspec.errors import SpecError, suggestion
from netspec.layers import large
from netspec.solver.log import say

Tensors = list[Tensor]
kernels: Any = torch
"""torch's multi-tensor functions, which its type stubs leave out."""
PIECE = 65536
"""Values that each of torch's threads works on at a time on the CPU: few enough to be in its cache still for the next
operation, many enough that calling the operation costs little beside it."""
LEAST_DAMPED = 1e-7
"""Rates above keep in 1 - rate, a double, more digits than a float has."""
SETTLED = 1e30
"""Updates after which an average no longer shows that it began at zero."""


@dataclass(frozen=True)
class Move:
    """What one update does: `rate` with lr_mult in it, `decay` with decay_mult, the gradient's `scale`."""

    rate: float
    decay: float
    scale: float
    iteration: int


class Rule:
    """One rule; `sets` is how many history blobs each parameter has."""

    sets: ClassVar[int] = 1
    unused: ClassVar[tuple[str, ...]] = ()
    """Fields of the solver that the rule cannot honour."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Of momentum2, rms_decay and delta, those that it reads."""
    rate_in_history: ClassVar[bool] = False
    """A rate of 0 leaves no trace in the history."""

    def __init__(self, param: Any) -> None:
        self.momentum: float = param.momentum
        self.delta: float = param.delta
        self.momentum2: float = param.momentum2
        self.rms_decay: float = param.rms_decay

    def move(self, weights: Tensors, grads: Tensors, history: list[Tensors], move: Move) -> None:
        """Changes weights and history in place; gradients are used up."""

        def work(w: Tensors, g: Tensors, *h: Tensors) -> None:
            kernels._foreach_mul_(g, move.scale)
            if move.decay:
                kernels._foreach_add_(g, w, alpha=move.decay)
            self.formula(w, g, list(h), move)

        on_pieces(work, weights, grads, *history)

    def formula(self, w: Tensors, g: Tensors, h: list[Tensors], move: Move) -> None:
        """The rule itself, decay already in g. At rate 0 only history changes."""
        raise NotImplementedError


def divisor(scale: float, like: Tensors) -> Tensor | None:
    """What fused kernels divide gradients by, to scale them; None for 1, which saves writing them."""
    return None if scale == 1 else torch.tensor(1 / scale, device=like[0].device)


class SGD(Rule):
    """Momentum with the rate inside the velocity."""

    nesterov: ClassVar[bool] = False
    rate_in_history = True

    def move(self, weights: Tensors, grads: Tensors, history: list[Tensors], move: Move) -> None:
        """One pass of the fused kernel, the rate as 1 - dampening, or in `grad_scale`, which divides the gradient.

        The first is faster, since it leaves the gradient as it is, but a small rate loses digits there.
        """
        factor = move.rate * move.scale
        if self.momentum == 0 or factor <= 0:
            return super().move(weights, grads, history, move)
        damped = factor > LEAST_DAMPED and not self.nesterov
        kernels._fused_sgd_(
            weights,
            grads,
            history[0],
            weight_decay=move.decay / move.scale if damped else move.rate * move.decay,
            momentum=self.momentum,
            lr=1.0,
            dampening=1 - factor if damped else 0.0,
            nesterov=self.nesterov,
            maximize=False,
            is_first_step=False,
            grad_scale=None if damped else divisor(factor, weights),
        )

    def formula(self, w: Tensors, g: Tensors, h: list[Tensors], move: Move) -> None:
        kernels._foreach_mul_(g, move.rate)
        kernels._foreach_mul_(h[0], self.momentum)
        kernels._foreach_add_(h[0], g)
        kernels._foreach_sub_(w, h[0])
        if self.nesterov:  # (1 + m) h' - m h = h' + m h' - (h' - r g) = r g + m h'
            kernels._foreach_add_(w, h[0])
            kernels._foreach_sub_(w, g)
            kernels._foreach_add_(w, h[0], alpha=-self.momentum)


class Nesterov(SGD):
    """The gradient step at the place the momentum leads to."""

    nesterov = True


class AdaGrad(Rule):
    """Rates shrink by the root of all squared gradients so far."""

    unused = ("momentum",)
    reads = ("delta",)

    def move(self, weights: Tensors, grads: Tensors, history: list[Tensors], move: Move) -> None:
        """On the CPU one pass, which torch has a kernel for."""
        if move.scale <= 0 or not move.rate or weights[0].device.type != "cpu":
            return super().move(weights, grads, history, move)
        self.fused(weights, grads, history[0], move)

    def fused(self, w: Tensors, g: Tensors, h: Tensors, move: Move) -> None:
        kernels._fused_adagrad_(
            w,
            g,
            h,
            [torch.tensor(1.0)] * len(w),
            lr=move.rate,
            lr_decay=0.0,
            weight_decay=move.decay,
            eps=self.delta,
            maximize=False,
            grad_scale=divisor(move.scale, w),
        )

    def formula(self, w: Tensors, g: Tensors, h: list[Tensors], move: Move) -> None:
        kernels._foreach_addcmul_(h[0], g, g)
        self.step(w, g, h[0], move)

    def step(self, w: Tensors, g: Tensors, h: Tensors, move: Move) -> None:
        if not move.rate:
            return
        root = kernels._foreach_sqrt(h)
        kernels._foreach_add_(root, self.delta)
        kernels._foreach_addcdiv_(w, g, root, -move.rate)


class RMSProp(AdaGrad):
    """AdaGrad with a fading memory."""

    reads = ("rms_decay", "delta")

    def fused(self, w: Tensors, g: Tensors, h: Tensors, move: Move) -> None:
        average_squares(w, g, h, self.rms_decay, move, self.delta)

    def formula(self, w: Tensors, g: Tensors, h: list[Tensors], move: Move) -> None:
        kernels._foreach_mul_(h[0], self.rms_decay)
        kernels._foreach_addcmul_(h[0], g, g, 1 - self.rms_decay)
        self.step(w, g, h[0], move)


def average_squares(w: Tensors, g: Tensors, h: Tensors, keep: float, move: Move, delta: float) -> None:
    """g = scale g + decay w, h = keep h + (1 - keep) g^2, w -= rate g / (sqrt(h) + delta), in one pass on the CPU.

    It is Adam's kernel long past its start, its first average without memory: the gradient itself, in its place.
    """
    kernels._fused_adam_(
        w,
        g,
        g,
        h,
        [],
        [torch.tensor(SETTLED)] * len(w),
        lr=move.rate,
        beta1=0.0,
        beta2=keep,
        weight_decay=move.decay,
        eps=delta,
        amsgrad=False,
        maximize=False,
        grad_scale=divisor(move.scale, w),
    )


class AdaDelta(Rule):
    """Steps in the ratio of past steps to past gradients; `momentum` is the decay of both averages."""

    sets = 2
    reads = ("delta",)

    def move(self, weights: Tensors, grads: Tensors, history: list[Tensors], move: Move) -> None:
        """On the CPU the first half is one pass, which leaves the weights for the second."""
        if move.scale <= 0 or weights[0].device.type != "cpu":
            return super().move(weights, grads, history, move)

        def work(w: Tensors, g: Tensors, h: Tensors, k: Tensors) -> None:
            average_squares(w, g, h, self.momentum, replace(move, rate=0.0), 1.0)
            self.step(w, g, h, k, move)

        on_pieces(work, weights, grads, *history)

    def formula(self, w: Tensors, g: Tensors, h: list[Tensors], move: Move) -> None:
        kernels._foreach_mul_(h[0], self.momentum)
        kernels._foreach_addcmul_(h[0], g, g, 1 - self.momentum)
        self.step(w, g, h[0], h[1], move)

    def step(self, w: Tensors, g: Tensors, h: Tensors, k: Tensors, move: Move) -> None:
        ratio = kernels._foreach_add(h, self.delta)
        kernels._foreach_div_(ratio, kernels._foreach_add(k, self.delta))
        kernels._foreach_rsqrt_(ratio)
        kernels._foreach_mul_(g, ratio)
        kernels._foreach_mul_(k, self.momentum)
        kernels._foreach_addcmul_(k, g, g, 1 - self.momentum)
        if move.rate:
            kernels._foreach_add_(w, g, alpha=-move.rate)


class Adam(Rule):
    """Averages of gradients and of their squares, corrected for their start at zero."""

    sets = 2
    reads = ("momentum2", "delta")

    def move(self, weights: Tensors, grads: Tensors, history: list[Tensors], move: Move) -> None:
        """One pass. The fused kernel divides the root by sqrt(1 - m2^t) before it adds eps, hence eps as given."""
        t = move.iteration + 1
        if move.scale <= 0 or not move.rate:
            return super().move(weights, grads, history, move)
        kernels._fused_adam_(
            weights,
            grads,
            history[0],
            history[1],
            [],
            [torch.tensor(float(t), device=w.device) for w in weights],
            lr=move.rate,
            beta1=self.momentum,
            beta2=self.momentum2,
            weight_decay=move.decay,
            eps=self.delta / sqrt(1 - self.momentum2**t),
            amsgrad=False,
            maximize=False,
            grad_scale=divisor(move.scale, weights),
        )

    def formula(self, w: Tensors, g: Tensors, h: list[Tensors], move: Move) -> None:
        t = move.iteration + 1
        kernels._foreach_mul_(h[0], self.momentum)
        kernels._foreach_add_(h[0], g, alpha=1 - self.momentum)
        kernels._foreach_mul_(h[1], self.momentum2)
        kernels._foreach_addcmul_(h[1], g, g, 1 - self.momentum2)
        if not move.rate:
            return
        root = kernels._foreach_sqrt(h[1])
        kernels._foreach_add_(root, self.delta)
        correction = sqrt(1 - self.momentum2**t) / (1 - self.momentum**t)
        kernels._foreach_addcdiv_(w, h[0], root, -move.rate * correction)


RULES: dict[str, type[Rule]] = {c.__name__: c for c in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam)}


def make_rule(document: Any) -> Rule:
    """The rule a solver names; SpecError, with its place, for what it cannot honour."""
    param, place = document.message, document.place
    if param.type not in RULES:
        hint = suggestion(param.type, RULES) or f" (known: {', '.join(RULES)})"
        raise SpecError(f"solver type '{param.type}' is unknown{hint}", place.of("type"))
    for field in RULES[param.type].unused:
        if getattr(param, field):
            raise SpecError(f"{field} cannot be used with {param.type}, only 0", place.of(field))
    for field in ("momentum", "momentum2", "rms_decay"):
        if not 0 <= getattr(param, field) < 1:
            raise SpecError(f"{field} {getattr(param, field):g} is not in 0 <= {field} < 1", place.of(field))
    if param.regularization_type not in ("L1", "L2"):
        raise SpecError(
            f"regularization_type '{param.regularization_type}' is unknown (known: L1, L2)",
            place.of("regularization_type"),
        )
    return RULES[param.type](param)


@dataclass(frozen=True)
class Learned:
    """A parameter blob of the solver's; it moves unless lr_mult is 0."""

    name: str
    tensor: Tensor
    lr_mult: float = 1.0
    decay_mult: float = 1.0


class Update:
    """Gradients -> weights: clip the norm of all together, divide, add decay, apply the rule.

    Order as in Caffe: clip_gradients sees the sum over iter_size, before it is divided and decay is added.
    """

    def __init__(self, document: Any, learned: Sequence[Learned]) -> None:
        param = document.message
        self.rule = make_rule(document)
        self.learned = list(learned)
        self.decay: float = param.weight_decay
        self.l1: bool = param.regularization_type == "L1"
        self.clip: float = param.clip_gradients
        self.history = [[self._zeros(p) for p in self.learned] for _ in range(self.rule.sets)]
        self.groups = self._groups()
        self.moved: set[int] = set()
        """Positions of what has moved in this iteration already."""

    def _zeros(self, p: Learned) -> Tensor | None:
        return torch.zeros_like(p.tensor) if self._works(p) else None

    def _works(self, p: Learned) -> bool:
        """Whether updates change the parameter or its history."""
        if p.lr_mult or self.rule.rate_in_history:
            return bool(p.lr_mult)
        return bool(self.decay * p.decay_mult) or p.tensor.requires_grad

    def _groups(self) -> dict[tuple[float, float], list[int]]:
        groups: dict[tuple[float, float], list[int]] = {}
        for position, p in enumerate(self.learned):
            if self._works(p):
                groups.setdefault((p.lr_mult, p.decay_mult), []).append(position)
        return groups

    def gradients(self) -> list[Tensor]:
        """All gradients there are, also frozen ones' (force_backward); zeros are made for what moves and got none."""
        for position, p in enumerate(self.learned):
            if p.lr_mult and p.tensor.grad is None and position not in self.moved:
                p.tensor.grad = torch.zeros_like(p.tensor)
        return [p.tensor.grad for p in self.learned if p.tensor.grad is not None]

    @contextmanager
    def early(self, rate: float, iteration: int, once: Callable[[int], bool]) -> Iterator[None]:
        """Around a backward pass: a large weight moves as soon as its gradient is whole, which is then let go.

        Those at a position that the pass has read `once` may move part by part and never have a whole one.
        `apply` moves the others. It is the same update where no gradients are added up and none is clipped.
        """
        with ExitStack() as stack:
            for position in (i for group in self.groups.values() for i in group):
                tensor = self.learned[position].tensor
                if tensor.requires_grad and tensor.nbytes >= large.LARGE:
                    stack.callback(self._watch(position, rate, iteration, once(position)))
            yield

    def _watch(self, position: int, rate: float, iteration: int, once: bool) -> Callable[[], None]:
        """Lets a weight move as its gradient comes; what ends that."""
        learned = self.learned[position]

        @torch.no_grad()
        def take(rows: slice | None, grad: Tensor) -> None:
            self._move([position], [grad], rate, iteration, 1.0, rows=rows)
            self.moved.add(position)

        def take_whole(tensor: Tensor) -> None:
            if tensor.grad is not None:
                take(None, tensor.grad)
                tensor.grad = None

        handle = learned.tensor.register_post_accumulate_grad_hook(take_whole)
        learned.tensor.take_rows = take if once else None  # type: ignore[attr-defined]

        def end() -> None:
            handle.remove()
            learned.tensor.take_rows = None  # type: ignore[attr-defined]

        return end

    @torch.no_grad()
    def apply(self, rate: float, iteration: int, divisor: int, keep: bool = False) -> None:
        """One update. `divisor` is how many gradients were added up. `keep` leaves each change of w in its grad."""
        scale = self.clip_factor(self.gradients()) / divisor
        for group in self.groups.values():
            if members := [i for i in group if i not in self.moved]:
                self._move(members, [self._gradient(i) for i in members], rate, iteration, scale, keep)
        self.moved.clear()

    def _gradient(self, position: int) -> Tensor:
        tensor = self.learned[position].tensor
        return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad

    def _move(
        self,
        members: Sequence[int],
        grads: Tensors,
        rate: float,
        iteration: int,
        scale: float,
        keep: bool = False,
        rows: slice | None = None,
    ) -> None:
        """Moves parameters of one group, or only some rows of each, by the gradients of what moves."""
        first = self.learned[members[0]]
        move = Move(rate * first.lr_mult, self.decay * first.decay_mult, scale, iteration)
        tensors = [self.learned[i].tensor for i in members]
        history = [[h for i in members if (h := blobs[i]) is not None] for blobs in self.history]
        if rows is not None:
            tensors, history = [w[rows] for w in tensors], [[h[rows] for h in blobs] for blobs in history]
        self._apply(tensors, grads, history, move, keep)
        for tensor in tensors if move.rate else ():
            increment_version(tensor)  # fused kernels do not, and whoever keeps what weights made looks at it

    def _apply(self, tensors: Tensors, grads: Tensors, history: list[list[Tensor]], move: Move, keep: bool) -> None:
        if (self.l1 and move.decay) or keep:
            scale, decay = move.scale, move.decay

            def regularise(w: Tensors, g: Tensors) -> None:
                kernels._foreach_mul_(g, scale)
                kernels._foreach_add_(g, kernels._foreach_sign(w) if self.l1 else w, alpha=decay)

            on_pieces(regularise, tensors, grads)
            move = Move(move.rate, 0.0, 1.0, move.iteration)
        if not keep:
            return self.rule.move(tensors, grads, history, move)
        # Moving zeros instead of the weights gives minus the update itself, unrounded.
        changes = kernels._foreach_mul(tensors, 0.0)
        self.rule.move(changes, grads, history, move)
        kernels._foreach_add_(tensors, changes)
        kernels._foreach_copy_(grads, kernels._foreach_neg(changes))

    def clip_factor(self, grads: Tensors) -> float:
        """clip / norm where the norm of all gradients together exceeds clip_gradients, else 1."""
        if self.clip < 0 or not grads:
            return 1.0
        norm = float(torch.linalg.vector_norm(torch.stack(kernels._foreach_norm(grads))))
        if not norm > self.clip:
            return 1.0
        factor = self.clip / norm
        what = f"scaling down gradients (L2 norm {norm:g} > {self.clip:g}) by scale factor {factor:g}"
        say("sgd_solver.cpp:95", f"Gradient clipping: {what}")
        return factor

    def stored(self) -> list[Tensor]:
        """History blobs in the order of a state file: one set after the other; what no update changes has zeros."""
        return [
            torch.zeros_like(p.tensor) if h is None else h
            for blobs in self.history
            for p, h in zip(self.learned, blobs, strict=True)
        ]

    @torch.no_grad()
    def load(self, blobs: Sequence[Any]) -> None:
        """History blobs as `stored` gives them, each an array of the parameter's shape."""
        flat = [h for one in self.history for h in one]
        for mine, theirs in zip(flat, blobs, strict=True):
            if mine is not None:
                mine.copy_(torch.as_tensor(theirs).view(mine.shape))


def on_pieces(work: Callable[..., None], *lists: Tensors) -> None:
    """`work(*lists)`, on the CPU piece by piece."""
    for piece in pieces(*lists):
        work(*piece)


def pieces(*lists: Tensors) -> Iterator[list[list[Tensor]]]:
    """Lists of equally shaped tensors, cut into lists of at most PIECE values a thread; uncut off the CPU."""
    if not lists[0] or lists[0][0].device.type != "cpu":
        yield [list(one) for one in lists]
        return
    most = PIECE * torch.get_num_threads()
    batch: list[tuple[Tensor, ...]] = []
    size = 0
    for together in zip(*lists, strict=True):
        n = together[0].numel()
        if batch and size + n > most:
            yield [list(one) for one in zip(*batch, strict=True)]
            batch, size = [], 0
        if n > most and all(t.is_contiguous() for t in together):
            for cut in zip(*(t.view(-1).split(most) for t in together), strict=True):
                yield [[t] for t in cut]
        else:
            batch.append(together)
            size += n
    if batch:
        yield [list(one) for one in zip(*batch, strict=True)]
