"""What the benchmarks of a training step share: clock, memory, arguments, comparison.

CPU time is user plus system time of the whole process; on a machine that does other work it is the number to trust, and
wall time is not. PyTorch's thread pool is told to sleep when idle: spinning counts as CPU time. Import this module
before torch.
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

PARTS = ("forward", "backward", "optimizer")
TIMES = (*PARTS, "step")


def now() -> tuple:
    """Wall and CPU time in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


class StepClock:
    """Times the parts of steps; a part may come in several pieces."""

    def __init__(self, warmup: int):
        self.warmup = warmup
        self.steps = []

    def begin(self):
        self.parts = dict.fromkeys(PARTS, (0.0, 0.0))
        self.last = now()

    def lap(self, part: str):
        """What passed since the last call belongs to `part`."""
        mark = now()
        self.parts[part] = tuple(so_far + end - start for so_far, start, end in zip(self.parts[part], self.last, mark))
        self.last = mark

    def end(self):
        self.parts["step"] = tuple(map(sum, zip(*self.parts.values())))
        self.steps.append(self.parts)

    def medians(self) -> dict:
        """Milliseconds of wall time as `step_ms`, …, and of CPU time as `step_cpu_ms`, …, without the warm-up."""
        taken = self.steps[self.warmup :]
        return {
            f"{part}_{suffix}": round(statistics.median(step[part][index] for step in taken) * 1e3, 3)
            for index, suffix in enumerate(("ms", "cpu_ms"))
            for part in TIMES
        }


def argument_parser(doc: str, model: str, batch_size: int, warmup: int, steps: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=model)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=warmup, help="steps not counted")
    parser.add_argument("--steps", type=int, default=steps, help="steps measured; the median is reported")
    parser.add_argument("--twinflame", help="JSON file from `twinflame bench … --json` to compare with")
    return parser


def use_threads(number: int):
    """Loads torch and limits it to so many threads."""
    os.environ["OMP_NUM_THREADS"] = str(number)
    import torch

    torch.set_num_threads(number)
    torch.manual_seed(0)
    return torch


def result(options, clock: StepClock, start_memory: int, **facts) -> dict:
    """The figures under the names of `twinflame bench --json`. `start_memory` is that of the libraries alone."""
    times = clock.medians()
    return {
        "model": options.model, "device": "cpu", "precision": "f32", "batch_size": options.batch_size,
        "threads": options.threads, "steps": options.steps, **facts, **times,
        "samples_per_second": options.batch_size / times["step_ms"] * 1e3,
        "peak_memory_bytes": peak_bytes(), "start_memory_bytes": start_memory,
    }


def compare(peer: dict, path: str) -> dict:
    """Ratio of Twinflame's figures in `path` (from `twinflame bench --json`) to PyTorch's, for those that both have."""
    with open(path, encoding="utf-8") as file:
        ours = json.load(file)
    # Other shapes or another precision would make the ratio a silent lie.
    for key in ("model", "batch_size", "precision"):
        if str(ours.get(key)).lower() != str(peer[key]).lower():
            raise SystemExit(f"{path}: {key} is {ours.get(key)!r}, but this run measured {peer[key]!r}")
    names = [f"{part}_{suffix}" for suffix in ("ms", "cpu_ms") for part in TIMES] + ["peak_memory_bytes"]
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
