"""What the benchmarks of a training step share: clock, memory, arguments, comparison.

CPU time is user plus system time of the whole process; on a machine that does other work it is the number to trust, and
wall time is not. PyTorch's thread pool is told to sleep when idle: spinning counts as CPU time. Import this module
before torch.

With `--device cuda` inputs stay on the host, in pinned memory, and a step begins with their upload (`data_ms`), as a training's does.
Peak memory is then the card's: `peak_memory_bytes` is what tensors took at most, `peak_reserved_bytes` what PyTorch had reserved for
them, which is what `twinflame bench` reports of a GPU.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded

PARTS = ("data", "forward", "backward", "optimizer")
TIMES = (*PARTS, "step")


def now() -> tuple:
    """Wall and CPU time in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def elapsed(start: tuple, end: tuple) -> tuple:
    return tuple(late - early for early, late in zip(start, end))


class StepClock:
    """Times steps and their parts; a part may come in several pieces.

    A GPU's work is queued, and who waits for it after each part keeps it idle meanwhile. So with one, steps alternate, as in
    `twinflame bench`: one waits at its end only and gives the time of a step, one waits after each part and gives those of the parts.
    """

    def __init__(self, options, torch):
        self.warmup, self.number = options.warmup, options.steps
        self.wait = torch.cuda.synchronize if options.device == "cuda" else None
        self.times = {name: [] for name in TIMES}

    def steps(self):
        """The body of a `for` over it is one step; it calls `lap` after each part."""
        each = 2 if self.wait else 1
        for number in range(-self.warmup, self.number * each):
            self.by_parts = each == 1 or number % 2 == 1
            self.parts = dict.fromkeys(PARTS, (0.0, 0.0))
            start = self.last = self.mark()
            yield
            step = elapsed(start, self.mark())
            if number < 0:
                continue
            if self.by_parts:
                for part, times in self.parts.items():
                    self.times[part].append(times)
            if each == 1 or not self.by_parts:
                self.times["step"].append(step)

    def mark(self) -> tuple:
        if self.wait:
            self.wait()
        return now()

    def lap(self, part: str):
        """What passed since the last call belongs to `part`."""
        if not self.by_parts:
            return
        mark = self.mark()
        passed = elapsed(self.last, mark)
        self.parts[part] = tuple(map(sum, zip(self.parts[part], passed)))
        self.last = mark

    def medians(self) -> dict:
        """Milliseconds of wall time as `step_ms`, …, and of CPU time as `step_cpu_ms`, …, without the warm-up."""
        return {
            f"{name}_{suffix}": round(statistics.median(taken[index] for taken in self.times[name]) * 1e3, 3)
            for index, suffix in enumerate(("ms", "cpu_ms"))
            for name in TIMES
        }


def argument_parser(doc: str, model: str, batch_size: int, warmup: int, steps: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=model)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32",
                        help="bf16: autocast over f32 weights, which open_clip calls amp_bf16")
    parser.add_argument("--tf32", action="store_true", help="cuda: let products of f32 matrices and convolutions round to TF32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=warmup, help="steps not counted")
    parser.add_argument("--steps", type=int, default=steps, help="steps measured; the median is reported")
    parser.add_argument("--twinflame", help="JSON file from `twinflame bench … --json` to compare with")
    return parser


def load_torch(options):
    """torch, with the threads and the rounding of `options`."""
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: this PyTorch finds no CUDA device")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # Both said: by default matrix products do not round to TF32 and convolutions do.
    torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.backends.cudnn.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True  # as open_clip's training sets it
    return torch


def autocast(options, torch):
    """What a forward pass and its loss run in."""
    return torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.precision == "bf16")


def on_host(tensor, options):
    """Where a step's inputs wait: a GPU reads pinned memory without the processor."""
    return tensor.pin_memory() if options.device == "cuda" else tensor


def peak_memory(options, torch, start_memory: int) -> dict:
    if options.device == "cuda":
        return {
            "device_description": torch.cuda.get_device_name(),
            "peak_memory_bytes": torch.cuda.max_memory_allocated(),
            "peak_reserved_bytes": torch.cuda.max_memory_reserved(),
        }
    return {"peak_memory_bytes": peak_bytes(), "start_memory_bytes": start_memory}


def result(options, clock: StepClock, torch, start_memory: int, **facts) -> dict:
    """The figures under the names of `twinflame bench --json`. `start_memory` is that of the libraries alone."""
    times = clock.medians()
    return {
        "model": options.model, "device": options.device, "precision": options.precision, "tf32": options.tf32,
        "batch_size": options.batch_size, "threads": options.threads, "steps": options.steps,
        "torch": torch.__version__, **facts, **times,
        "samples_per_second": options.batch_size / times["step_ms"] * 1e3,
        **peak_memory(options, torch, start_memory),
    }


def compare(peer: dict, path: str) -> dict:
    """Ratio of Twinflame's figures in `path` (from `twinflame bench --json`) to PyTorch's, for those that both have."""
    with open(path, encoding="utf-8") as file:
        ours = json.load(file)
    # Other shapes or another precision would make the ratio a silent lie.
    for key in ("model", "batch_size", "precision"):
        if str(ours.get(key)).lower() != str(peer[key]).lower():
            raise SystemExit(f"{path}: {key} is {ours.get(key)!r}, but this run measured {peer[key]!r}")
    # On a processor PyTorch's inputs are where they are used: there is no upload to compare with. On a GPU Twinflame tells what is reserved.
    times = [part for part in TIMES if part != "data" or peer["device"] != "cpu"]
    names = [f"{part}_{suffix}" for suffix in ("ms", "cpu_ms") for part in times] + ["peak_memory_bytes"]
    peer = {**peer, "peak_memory_bytes": peer.get("peak_reserved_bytes", peer["peak_memory_bytes"])}
    shared = [name for name in names if ours.get(name) and peer[name]]
    if "step_ms" not in shared:
        raise SystemExit(f"{path}: no step_ms; expected the output of `twinflame bench --json`")
    print(f"{'':20}{'PyTorch':>16}{'Twinflame':>16}{'ratio':>8}", file=sys.stderr)
    for name in shared:
        print(f"{name:20}{peer[name]:16,.1f}{ours[name]:16,.1f}{ours[name] / peer[name]:8.2f}", file=sys.stderr)
    return {name: round(ours[name] / peer[name], 3) for name in shared}


def report(figures: dict, twinflame: str | None):
    """Prints the figures as JSON, with the ratios if there is a file to compare with."""
    if twinflame:
        figures["ratio"] = compare(figures, twinflame)
    print(json.dumps(figures, indent=2))
