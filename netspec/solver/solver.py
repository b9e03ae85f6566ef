"""The solver: one visible loop over forward, backward and update, and what happens around it at its intervals."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netspec import schema
from netspec import weights as stored
from netspec.errors import Loc, SpecError
from netspec.ir.graph import Blob, Graph
from netspec.layers.base import Context
from netspec.net import Net
from netspec.passes.insert_splits import insert_splits
from netspec.pipeline import copy_weights
from netspec.solver import advice, policies, settings, snapshot, testing
from netspec.solver.debug import Debug
from netspec.solver.interpolation import fill_upsampling
from netspec.solver.log import JsonLog, logger, output_lines, say
from netspec.solver.parallel import Ranks
from netspec.solver.precision import Precision
from netspec.solver.rules import Learned, Update
from netspec.solver.scoring import Scorer
from netspec.solver.signals import Signals
from netspec.solver.snapshot import RunLock, Snapshots
from netspec.weights import solverstate
from netspec.weights.model import Model
from netspec.weights.solverstate import State

Inputs = Mapping[str, Tensor]


class Solver:
    """Trains the net of a solver file as Caffe does.

    `weights`: files of initial weights, in place of the solver's own. `context`: where data are found. `overrides`:
    solver fields, as a dict or "field=value". `seed`: in place of random_seed. `out`: the folder for snapshots and
    log.jsonl, in place of the one in snapshot_prefix. `feed` gives the values of Input layers, before every
    sub-iteration; `test_feed` those of a test net, by its number. `observe` sees all blobs of every forward pass.
    `score_every`: iterations between segmentation scores. `keep`: how many snapshots stay. `interp`: whether frozen
    upsampling layers that nothing fills get bilinear kernels. `rewrite` changes every graph before its net is built.
    `frugal`: gradients of large weights are not kept after they have moved them, which is during backward.
    `passes` may run the training net in a way of its own: forward and, if asked, backward.
    """

    def __init__(
        self,
        solver: str | Path | Any,
        *,
        weights: str | Path | Sequence[str | Path] | None = None,
        context: Context | None = None,
        overrides: settings.Overrides = (),
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        seed: int | None = None,
        out: str | Path | None = None,
        feed: Callable[[], Inputs] | None = None,
        test_feed: Callable[[int], Inputs] | None = None,
        observe: Callable[[dict[Blob, Tensor]], None] | None = None,
        score_every: int = 0,
        keep: int = 0,
        interp: bool = True,
        rewrite: Callable[[Graph], Graph] | None = None,
        frugal: bool = False,
        passes: Callable[[bool], tuple[float, dict[Blob, Tensor]] | None] | None = None,
    ) -> None:
        self.document = settings.read(solver, overrides)
        self.param = self.document.message
        self.device = torch.device(device)
        self.ranks = Ranks(self.device)
        self.precision = Precision(precision, self.device)
        self.feed, self.test_feed, self.observe, self.score_every = feed, test_feed, observe, score_every
        self.rewrite, self.frugal = rewrite, frugal
        self.passes = passes
        self.on_start: list[Callable[[], Any]] = []
        """Called in every iteration before its first pass."""
        self.on_gradients: list[Callable[[], Any]] = []
        """Called in every iteration when its gradients are there, before the update."""
        self.iter = 0
        self.interrupted = False
        self.values: dict[Blob, Tensor] = {}
        """Outputs and losses of the last pass."""
        self.callbacks: list[Callable[[Solver], None]] = []
        """Called after every iteration."""
        self.tests: dict[int, dict[str, Any]] = {}
        """What each test net gave last: iteration, loss, outputs, scores."""
        self._seed(seed)
        self._make_nets(replace(context or Context(), rank=self.ranks.rank, world=self.ranks.world))
        self._load(settings.weight_files(self.document, weights), interp)
        self.update = Update(self.document, self.learned())
        self.snapshots = Snapshots(settings.prefix(self.document, out), self._end(), keep)
        self.signals = Signals()
        self._stop = self._asked = False
        self.on_record: list[Callable[[dict[str, Any]], Any]] = []
        """Called by rank 0 with each object of log.jsonl."""
        if out is not None:
            self.on_record.append(JsonLog(Path(out)).write)
        self._window: deque[float] = deque(maxlen=self.param.average_loss)
        self._window_holds = False
        self._debug, *self._test_debugs = [
            Debug(net) if self.param.debug_info else None for net in (self.net, *self.test_nets)
        ]
        self._advice = advice.Advice(self.document, self.net)
        self._born = time.monotonic()

    # -- making

    def _seed(self, seed: int | None) -> None:
        """random_seed: the same for all ranks while nets are made, then one each.

        Several ranks always have one: they share out one order of the data.
        """
        if seed is None and self.param.random_seed >= 0:
            seed = self.param.random_seed
        self.seed = self.ranks.seed() if seed is None else seed
        seed = self.seed
        if seed is not None:
            set_seed(seed)

    def _make_nets(self, context: Context) -> None:
        source = settings.train_net(self.document)
        self.net = self._net(source, context)
        self.test_nets = [self._net(s, context) for s in settings.test_nets(self.document)]
        for net in self.test_nets:
            net.share_with(self.net)
        self._scorers = [Scorer.of(net) for net in self.test_nets]
        if self.score_every and not any(self._scorers):
            raise SpecError(
                "score_every needs a test net with a SoftmaxWithLoss over an image", self.document.place.loc
            )

    def _net(self, source: settings.NetSource, context: Context) -> Net:
        seed = self.seed if context.seed is None else context.seed
        context = replace(context, folder=context.folder or source.folder, seed=seed)
        graph = self.rewrite(source.graph) if self.rewrite else source.graph
        graph = insert_splits(graph) if self.param.debug_info else graph
        net = Net(graph, context).to(self.device)
        net.innermost = True
        if self.device.type == "cuda":
            channels_innermost(net)
        self.precision.prepare(net)
        return net

    def _load(self, files: Sequence[Path], interp: bool) -> None:
        """Weights into the training net and, for layers of their own, into the test nets."""
        for file in files:
            say("solver.cpp:72", f"Finetuning from {file}")
            for line in copy_weights(file, self.net, *self.test_nets).summary():
                logger.info("%s: %s", file, line)
        if interp:
            fill_upsampling(self.net)
        self.ranks.same([p.data for p in self.net.parameters()])
        if self.ranks.world > 1 and self.seed is not None:
            set_seed(self.seed + self.ranks.rank)

    def learned(self) -> list[Learned]:
        """Every parameter blob of the training net once, in the order of a state file's history."""
        return [
            Learned(
                f"{self.net.graph.layers[p.layer].name}.{p.index}",
                self.net.steps[p.layer].blobs.blobs()[p.index],  # type: ignore[union-attr]
                p.lr_mult,
                p.decay_mult,
            )
            for p in self.net.owners
        ]

    def _end(self) -> str:
        return ".h5" if schema.enum_name(self.param, "snapshot_format") == "HDF5" else ""

    # -- running

    @property
    def lr(self) -> float:
        """The rate of the coming update."""
        return policies.rate(self.param, self.iter)

    @property
    def smoothed_loss(self) -> float:
        """The mean loss of the last average_loss iterations of this `step` call."""
        return fsum(self._window) / len(self._window) if self._window else float("nan")

    def step(self, n: int) -> None:
        """Runs n iterations; fewer after a signal to stop."""
        self._begin()
        end = self.iter + n
        while self.iter < end and not self.interrupted:
            self._test_if_due()
            if self.interrupted:
                break
            for call in self.on_start:
                call()
            loss = self._forward_backward()
            self._show(loss)
            for call in self.on_gradients:
                call()
            self.apply_update()
            self.iter += 1
            self._snapshot_if_due()
            for call in self.callbacks:
                call(self)

    def solve(self, signals: bool = False, iterations: int | None = None) -> bool:
        """Trains to max_iter, or for `iterations`. False when SIGINT or SIGTERM ended it, after a snapshot.

        Only one run at a time may write under a snapshot prefix. With `signals`, SIGHUP makes a snapshot.
        """
        if iterations is None and not self.param.max_iter:
            raise SpecError("max_iter is missing", self.document.place.loc)
        with ExitStack() as stack:
            if self.ranks.writes:
                self.snapshots.check_folder()
                stack.enter_context(RunLock(f"{self.snapshots.prefix}.lock"))
                self.snapshots.clean()
            if signals:
                stack.enter_context(self.signals)
            say("solver.cpp:289", f"Solving {self.net.graph.name}")
            say("solver.cpp:290", f"Learning Rate Policy: {self.param.lr_policy}")
            self.step(self.param.max_iter - self.iter if iterations is None else iterations)
            return self._finish()

    def _finish(self) -> bool:
        due = self.param.snapshot and self.iter % self.param.snapshot == 0
        if not due and (self.param.snapshot_after_train or self.interrupted):
            self._try_snapshot()
        if self.interrupted:
            say("solver.cpp:295", "Optimization stopped early.")
            return False
        if self.param.display and self.iter % self.param.display == 0:
            with torch.no_grad():
                self._window.append(self._forward(backward=False))
            say("solver.cpp:327", f"Iteration {self.iter}, loss = {self.smoothed_loss:g}")
        if self.param.test_interval and self.iter % self.param.test_interval == 0:
            self.test()
        say("solver.cpp:332", "Optimization Done.")
        return True

    def _begin(self) -> None:
        self.interrupted = False
        if not self._window_holds:
            self._window.clear()
        self._window_holds = False
        self._clock = time.monotonic()
        self._shown_at = self.iter
        if self.param.snapshot and self.ranks.writes:
            self.snapshots.check_folder()
        self._advice.before()

    def _forward_backward(self) -> float:
        """Adds up the gradients of iter_size passes; the mean loss over them and all ranks."""
        for p in self.net.parameters():
            p.grad = None
        loss = sum(self._forward() for _ in range(self.param.iter_size)) / self.param.iter_size
        sums = self.ranks.sums([loss, self.signals.stop, self.signals.snapshot])
        self._stop, self._asked = sums[1] > 0, sums[2] > 0
        self.signals.snapshot = False
        return sums[0] / self.ranks.world

    def _forward(self, backward: bool = True) -> float:
        """One pass; the loss. Gradients add to the parameters'."""
        loss, values = (self.passes and self.passes(backward)) or self._net_pass(backward)
        self.values = {b: v.detach() for b, v in values.items() if b in self.net.graph.outputs or b in self.net.losses}
        return loss

    def _net_pass(self, backward: bool) -> tuple[float, dict[Blob, Tensor]]:
        """One pass of the net as it is: the loss, outputs and whatever is wanted besides."""
        inputs = {name: value.to(self.device) for name, value in self.feed().items()} if self.feed else {}
        debug = self._debug if backward and self._displays() else None
        with self.precision():
            loss, values = self.net.loss(inputs, self._wanted(debug))
        if debug:
            debug.forward(values)
        if backward:
            with self._moving():
                loss.backward()
        if debug:
            debug.backward(values)
        if self.observe:
            self.observe(values)
        return float(loss.value), values

    def _moving(self) -> AbstractContextManager[None]:
        """Around backward: large weights move at once where nobody asks for all gradients together."""
        alone = self.param.iter_size == 1 and self.ranks.world == 1 and self.param.clip_gradients < 0
        asked = self._debug or self.on_gradients or self.param.snapshot_diff
        if not (self.frugal and alone) or asked:
            return nullcontext()
        return self.update.early(self.lr, self.iter, lambda i: self.net.read_once(self.net.owners[i]))

    def _wanted(self, debug: Debug | None) -> tuple[Blob, ...]:
        """What a pass must give besides outputs and losses."""
        if debug:
            return debug.blobs
        return tuple(self.net.last.values()) if self.observe else ()

    def apply_update(self) -> None:
        """Moves the weights by the gradients they have, at this iteration's rate; `iter` stays."""
        rate, step = self.lr, policies.current_step(self.param, self.iter)
        if self.param.lr_policy == "multistep" and step > policies.current_step(self.param, self.iter - 1):
            say("sgd_solver.cpp:50", f"MultiStep Status: Iteration {self.iter}, step = {step}")
        if self._displays():
            say("sgd_solver.cpp:112", f"Iteration {self.iter}, lr = {rate:g}")
        self.ranks.add(self.update.gradients())
        self.update.apply(rate, self.iter, self.param.iter_size * self.ranks.world, self.param.snapshot_diff)

    # -- telling

    def _displays(self) -> bool:
        return bool(self.param.display) and self.iter % self.param.display == 0

    def _show(self, loss: float) -> None:
        self._window.append(loss)
        self._advice.loss(self.iter, loss, self.values)
        if not self._displays():
            return
        now = time.monotonic()
        seconds, done = now - self._clock, self.iter - self._shown_at
        rate = done / seconds if seconds else 0.0
        speed = f"{rate:g} iter/s, {seconds:g}s/{self.param.display} iters"
        say("solver.cpp:239", f"Iteration {self.iter} ({speed}), loss = {self.smoothed_loss:g}")
        for line in output_lines("Train", testing.outputs(self.net, self.values)):
            say("solver.cpp:258", line)
        self._clock, self._shown_at = now, self.iter
        self._record(loss=loss, smoothed_loss=self.smoothed_loss, lr=self.lr)

    def _record(self, **fields: Any) -> None:
        record = {"iteration": self.iter, **fields, "seconds": round(time.monotonic() - self._born, 3)}
        for call in self.on_record if self.ranks.writes else ():
            call(record)

    # -- testing

    def _test_if_due(self) -> None:
        """Tests and scores at their intervals. A signal to stop leaves off, as if the test had not begun."""
        interval, every = self.param.test_interval, self.score_every
        tested = interval and self.iter % interval == 0 and (self.iter > 0 or self.param.test_initialization)
        scored = every and self.iter and self.iter % every == 0
        if not (self.test_nets and (tested or scored)):
            return
        here = self._extra() if self.signals.on else {}
        try:
            self.test() if tested else self.score()
        except testing.Stopped:
            self._restore_extra(here)
            self.interrupted = True

    def test(self) -> list[dict[str, Any]]:
        """Runs every test net over its test_iter batches: the mean of each output, and segmentation scores."""
        return [self._test(number) for number in range(len(self.test_nets))]

    def score(self) -> list[dict[str, Any]]:
        """Segmentation scores of every test net that has something to score."""
        return [self._test(n, quiet=True) for n, scorer in enumerate(self._scorers) if scorer is not None]

    def _test(self, number: int, quiet: bool = False) -> dict[str, Any]:
        if not quiet:
            say("solver.cpp:347", f"Iteration {self.iter}, Testing net (#{number})")
        loss, outputs, scores = self._run_test(number)
        if not quiet:
            if self.param.test_compute_loss:
                say("solver.cpp:401", f"Test loss: {loss:g}")
            for line in output_lines("Test", outputs):
                say("solver.cpp:414", line)
        for name, values in scores.items():
            words = ", ".join(f"{k} = {values[k]:g}" for k in ("pixel_acc", "mean_acc", "mean_iu", "fw_iu"))
            say("scoring.py:67", f"    Test net (#{number}) {name}: {words}")
        shown = {name: values[0] if len(values) == 1 else values for name, values, _ in outputs if len(values) < 100}
        first = next(iter(scores.values()), {})
        weights = {name: weight for name, _, weight in outputs if weight and name in shown}
        record = {"test_net": number, "loss": loss, "outputs": shown, "weights": weights, **first}
        if len(scores) > 1:
            record["scores"] = scores
        self._record(**record)
        self.tests[number] = {"iteration": self.iter, **record}
        return record

    def _run_test(self, number: int) -> tuple[float, list[testing.Output], dict[str, dict[str, float]]]:
        """Mean loss, mean outputs and scores over test_iter batches."""
        scorer, feed = self._scorers[number], self.test_feed
        loss, outputs = testing.run(
            self.test_nets[number],
            self.param.test_iter[number],
            self.ranks,
            self.precision,
            feed=(lambda: feed(number)) if feed else None,
            scorer=scorer,
            debug=self._test_debugs[number],
            stop=lambda: self.signals.stop and self.ranks.world == 1,
            ap_version=self.param.ap_version,
            per_class=self.param.show_per_class_result,
        )
        return loss, outputs, scorer.scores(self.ranks) if scorer else {}

    # -- snapshots

    def _snapshot_if_due(self) -> None:
        """At its interval, when a signal asks for one; a signal to stop is taken up here, after the iteration."""
        if (self.param.snapshot and self.iter % self.param.snapshot == 0) or self._asked:
            self._try_snapshot()
        self.interrupted = self._stop

    def _try_snapshot(self) -> None:
        """A snapshot that fails is told, and training goes on."""
        try:
            self.snapshot()
        except (SpecError, OSError, RuntimeError) as e:
            logger.error("snapshot at iteration %d failed, training goes on: %s", self.iter, e)

    def snapshot(self) -> str:
        """Writes weights, state and companion; the state's path."""
        extra = self._extra()
        path = self.snapshots.state(self.iter)
        if not self.ranks.writes:
            return path
        kind = "HDF5" if self.snapshots.end else "binary proto"
        say("solver.cpp:464", f"Snapshotting to {kind} file {self.snapshots.model(self.iter)}")
        say("sgd_solver.cpp:284", f"Snapshotting solver state to {kind} file {path}")
        history = [h.detach().cpu().numpy() for h in self.update.stored()]
        step = policies.current_step(self.param, self.iter - 1) if self.iter else 0
        state = State(self.iter, step, self.snapshots.model(self.iter), history)
        model = self.net.to_model(self.param.snapshot_diff)
        return self.snapshots.write(model, state, extra, net_message(self.net))

    def _extra(self) -> dict[str, Any]:
        return {
            "iteration": self.iter,
            "layers": self.ranks.gather([memories(net) for net in (self.net, *self.test_nets)]),
            "random": self.ranks.gather(snapshot.random_state(self.device)),
            "window": list(self._window),
        }

    def restore(self, path: str | Path) -> None:
        """Goes on from a `.solverstate` or `.solverstate.h5`, or from the newest snapshot for "latest".

        What does not fit this net and solver type is refused before a weight changes.
        """
        if str(path) == "latest":
            path = self.latest()
        path = str(path)
        state = solverstate.read(path)
        history = snapshot.check_history(path, state, [tuple(h.shape) for h in self.update.stored()])
        model = stored.read(snapshot.model_of(path, state))
        companion = snapshot.extra_of(path)
        extra = snapshot.read_extra(companion) if companion else None
        check_layers(path, self.net, model)
        self.net.copy_from(model)
        for net in self.test_nets:
            net.copy_from(model)
        self.update.load(history)
        self.iter = state.iter
        say("sgd_solver.cpp:318", f"{self.param.type}Solver: restoring history")
        if extra is None:
            logger.warning("%s says nothing of data positions and random states: data start anew", path)
        else:
            self._restore_extra(extra)

    def _restore_extra(self, extra: Mapping[str, Any]) -> None:
        states = extra["random"]
        as_many = len(states) == self.ranks.world
        layers = extra["layers"][self.ranks.rank if as_many else 0]
        for net, known in zip((self.net, *self.test_nets), layers, strict=False):
            recall(net, known)
        if as_many:
            snapshot.set_random_state(states[self.ranks.rank], self.device)
        else:
            logger.warning(
                "the snapshot is of %d processes, not %d: random states start anew", len(states), self.ranks.world
            )
        self._window.clear()
        self._window.extend(extra["window"])
        self._window_holds = True

    def latest(self) -> str:
        """The state of the newest complete snapshot under the prefix."""
        newest = self.snapshots.newest()
        if newest is None:
            raise SpecError(
                f"there is no complete snapshot {self.snapshots.prefix}_iter_*.solverstate{self.snapshots.end}"
            )
        return newest


def set_seed(seed: int) -> None:
    """torch, Python and numpy draw from the seed on."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def net_message(net: Net) -> Any:
    """The net as a message: its layers in this state, as written."""
    return schema.new("NetParameter", name=net.graph.name, layer=[spec.proto for spec in net.graph.layers])


def channels_innermost(net: Net) -> None:
    """Lays out convolution weights, and so the feature maps behind them, as the fastest kernels of GPUs read them."""
    for p in net.parameters():
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)


def check_layers(path: str, net: Net, model: Model) -> None:
    """SpecError unless a snapshot's model has every layer of the net that has parameters."""
    known = {layer.name for layer in model.layers}
    missing = [step.spec.name for step in net.steps if step.shapes and step.spec.name not in known]
    if missing:
        raise SpecError(f"its model has no layers {', '.join(missing)}: it is of another net", Loc(path))


def memories(net: Net) -> dict[str, Any]:
    """What each layer leaves to its next pass: places in the data, the state of recurrent layers."""
    found = {spec.name: layer.memory() for spec, layer in net.bound}
    return {name: memory for name, memory in found.items() if memory is not None}


def recall(net: Net, memories: Mapping[str, Any]) -> None:
    """The reverse of `memories`; a layer that the snapshot does not know starts anew, with a warning."""
    for spec, layer in net.bound:
        if spec.name in memories:
            layer.recall(memories[spec.name])
        elif layer.memory() is not None:
            logger.warning("the snapshot says nothing of the place of layer '%s': it starts anew", spec.name)
