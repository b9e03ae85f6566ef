"""The contenders: each function loads FCN-8s from files as its users would and returns one pass as a call.

A forward pass returns the score map, a training step the loss of its first step without dropout and of all others with.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import bench_fcn8s
from bench_turns import Job, Unavailable, package

ROOT = Path(__file__).resolve().parent.parent
RATE, MOMENTUM, DECAY = 1e-10, 0.99, 5e-4
Run = Callable[[], Any]


def array(job: Job, name: str) -> Any:
    """images.npy or labels.npy."""
    import numpy as np

    return np.load(Path(job.folder) / f"{name}.npy")


def tensor(job: Job, name: str) -> Any:
    import torch

    return torch.from_numpy(array(job, name))


# -- netspec


def netspec_forward(job: Job) -> Run:
    import netspec

    net = netspec_net(job)
    netspec.freeze(net, job.precision)
    return netspec_pass(job, net)


def netspec_net(job: Job) -> Any:
    """The net as netspec.load gives it."""
    import netspec

    context = netspec.Context(no_pass=frozenset(job.options.get("no_pass", ())))
    weights = Path(job.folder) / "fcn8s.caffemodel"
    return netspec.load(bench_fcn8s.DEPLOY, weights, context=context, shapes={"data": job.shape})


def netspec_pass(job: Job, net: Any) -> Run:
    import torch

    data = tensor(job, "images")

    def run() -> Any:
        with torch.inference_mode():
            return net(data=data)["score"]

    return run


def netspec_step(job: Job) -> Run:
    feed = {"data": tensor(job, "images"), "label": tensor(job, "labels")}
    solver = make_solver(job, ROOT / "prototxt/voc-fcn8s/train.prototxt", feed, Path(job.folder) / "fcn8s.caffemodel")
    dropouts = [layer for _, layer in solver.net.bound if layer.type == "Dropout"]

    def run() -> Any:
        for layer in dropouts:
            layer.drops = solver.iter > 0
        solver.step(1)
        return solver.smoothed_loss

    return run


def recomputing_step(job: Job) -> Run:
    job.options["recompute"] = True
    return netspec_step(job)


def make_solver(job: Job, net: Path, feed: dict[str, Any], weights: Path | None = None, device: str = "cpu") -> Any:
    """A solver that reads nothing, tests nothing and says nothing."""
    import netspec
    from netspec import schema
    from netspec.passes.data_to_input import data_to_input

    shapes = {name: tuple(value.shape) for name, value in feed.items()}
    fields = {"base_lr": RATE, "lr_policy": "fixed", "momentum": MOMENTUM, "weight_decay": DECAY}
    return netspec.Solver(
        schema.new("SolverParameter", train_net=str(net), **fields),
        weights=weights,
        device=device,
        context=netspec.Context(
            no_pass=frozenset(job.options.get("no_pass", ())), recompute=job.options.get("recompute", False)
        ),
        precision=job.precision,
        frugal=True,
        rewrite=lambda graph: data_to_input(graph, shapes).graph,
        feed=lambda: feed,
    )


# -- PyTorch by hand


def autocast(job: Job) -> AbstractContextManager[Any]:
    import torch

    return torch.autocast("cpu", torch.bfloat16) if job.precision == "bf16" else nullcontext()


def eager_forward(job: Job) -> Run:
    import torch

    return torch_forward(job, torch.contiguous_format)


def channels_last_forward(job: Job) -> Run:
    import torch

    return torch_forward(job, torch.channels_last)


def torch_forward(job: Job, layout: Any) -> Run:
    import torch

    net = bench_fcn8s.load_module(job.folder).eval().to(memory_format=layout)
    data = tensor(job, "images").contiguous(memory_format=layout)

    def run() -> Any:
        with torch.inference_mode(), autocast(job):
            return net(data)

    return run


def compile_forward(job: Job) -> Run:
    """torch.compile with the weights frozen and prepacked."""
    import torch
    import torch._inductor.config as config

    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        raise Unavailable("torch.compile needs a C++ compiler, and there is none here")
    config.freezing = True
    net = bench_fcn8s.load_module(job.folder).eval().to(memory_format=torch.channels_last)
    data = tensor(job, "images").contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(net)

    def run() -> Any:
        with torch.no_grad(), autocast(job):
            return compiled(data)

    return run


def eager_step(job: Job) -> Run:
    import torch

    return torch_step(job, torch.contiguous_format)


def channels_last_step(job: Job) -> Run:
    import torch

    return torch_step(job, torch.channels_last)


def torch_step(job: Job, layout: Any) -> Run:
    import torch

    net = bench_fcn8s.load_module(job.folder).to(memory_format=layout).eval()
    data, label = tensor(job, "images").contiguous(memory_format=layout), tensor(job, "labels")[:, 0].long()
    learned = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim == 4], "lr": RATE, "weight_decay": DECAY},
        {"params": [p for p in learned if p.ndim == 1], "lr": 2 * RATE, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)

    def run() -> Any:
        optimizer.zero_grad()
        with autocast(job):
            score = net(data)
        loss = torch.nn.functional.cross_entropy(score.float(), label, ignore_index=255, reduction="sum")
        loss.backward()
        optimizer.step()
        net.train()
        return loss.detach()

    return run


# -- inference engines


def onnxruntime_forward(job: Job) -> Run:
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = runtime.InferenceSession(onnx_file(job), options, providers=["CPUExecutionProvider"])
    data = array(job, "images")
    return lambda: session.run(["score"], {"data": data})[0]


def openvino_forward(job: Job) -> Run:
    openvino = package("openvino")
    core = openvino.Core()
    if job.precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unavailable("OpenVINO finds no bfloat16 in this CPU")
    settings = {
        "INFERENCE_NUM_THREADS": job.threads,
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[job.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(onnx_file(job), "CPU", settings).create_infer_request()
    data = array(job, "images")
    return lambda: request.infer({"data": data}, share_inputs=True, share_outputs=True)["score"]


def onnx_file(job: Job) -> str:
    package("onnx")
    return str(Path(job.folder) / "fcn8s.onnx")


def opencv_forward(job: Job) -> Run:
    cv2 = package("cv2")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise Unavailable(f"OpenCV {cv2.__version__} has no Caffe importer, OpenCV 4 has")
    cv2.setNumThreads(job.threads)
    net = cv2.dnn.readNetFromCaffe(*(str(Path(job.folder) / f"fcn8s.{end}") for end in ("prototxt", "caffemodel")))
    data = array(job, "images")

    def run() -> Any:
        net.setInput(data)
        return net.forward()

    return run


FORWARD = {
    "eager": eager_forward,
    "channels_last": channels_last_forward,
    "compile": compile_forward,
    "onnxruntime": onnxruntime_forward,
    "openvino": openvino_forward,
    "opencv": opencv_forward,
    "netspec": netspec_forward,
}
STEP = {
    "eager": eager_step,
    "channels_last": channels_last_step,
    "netspec": netspec_step,
    "netspec --recompute": recomputing_step,
}
BF16 = {
    "forward": ("channels_last", "compile", "openvino", "netspec"),
    "train": ("channels_last", "netspec", "netspec --recompute"),
}
CONTENDERS: dict[tuple[str, str], dict[str, Callable[[Job], Run]]] = {
    ("forward", "fp32"): FORWARD,
    ("forward", "bf16"): {name: FORWARD[name] for name in BF16["forward"]},
    ("train", "fp32"): STEP,
    ("train", "bf16"): {name: STEP[name] for name in BF16["train"]},
}
"""By task and precision, the one that others are compared with first."""
NAMES = tuple({**FORWARD, **STEP})
