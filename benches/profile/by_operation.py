#!/usr/bin/env python3
"""A table of where the CPU time of training steps goes, by operation, from samples of Linux' perf.

    cargo build --release --config 'profile.release.strip="none"'
    perf record -F 199 --call-graph dwarf,8192 -o perf.data target/release/twinflame bench vit-b-32 --batch-size 16 --steps 4 --device cpu
    perf script -i perf.data -F comm,tid,time,ip,sym > samples.txt
    python by_operation.py samples.txt [samples of another build]

A sample belongs to the innermost frame that a line of OPERATIONS knows, so that what a kernel copies counts as the kernel's. Only
samples between the first gradient and the last update count: drawing initial weights is no part of a step, but it is left in where it
runs in between. With two files both are shown, each scaled to 100 % of itself.
"""

import re
import sys
from collections import Counter

# Whatever runs inside of it.
STAGES = [("AdamW, moving average", r"burn_optim|fused_adamw|fused_moving_average|optim::flex|update_average")]
# The first that matches a frame counts, from the innermost frame outwards.
OPERATIONS = [
    ("GELU", r"activation::gelu|libm.*erf|twinflame_kernels::activation|flex::normal|flex::sigmoid|float_erf|Gelu"),
    ("attention around its products", r"softmax|twinflame_kernels::attention|flex::heads"),
    ("layer norm", r"layer_norm"),
    ("embedding", r"embedding"),
    ("zeros for outputs", r"FlexTensor::(empty|zeros|filled)"),
    ("packing for products", r"pack_operands|gemm_common::simd"),
    ("matrix products", r"gemm_f32|gemm_common|ops::matmul|flex::gemm"),
    ("convolution, pooling", r"ops::conv|ops::pool|batch_norm"),
    ("copies, selections", r"contiguous|copy_2d|ops::(slice|cat|gather_scatter|expand|flip|repeat)"),
    ("sums", r"ops::reduce|flex::columns"),
    ("element by element", r"burn_flex::(ops|zip|simd|strided)"),
    ("initial weights", r"init::Values|rand_distr|chacha"),
]
# Where no frame tells the operation: a thread of the pool knows its piece of work, and not whose it is.
PIECES = [
    ("vector code in the pool's threads", r"macerator|bridge_producer_consumer|mem(cpy|move|set)"),
    ("sleeping and waking threads", r"rayon_core::(sleep|latch|registry)|futex|finish_task_switch"),
]
STEP = re.compile(r"burn_autodiff|fused_adamw|burn_optim")


def samples(path):
    """Time and frames of each sample, innermost first."""
    with open(path, encoding="utf-8", errors="replace") as file:
        time, frames = None, []
        for line in file:
            head = re.match(r"\S.*\s([\d.]+):", line)
            if head:
                if frames:
                    yield time, frames
                time, frames = float(head[1]), []
            elif line.strip():
                frames.append(line.split(maxsplit=1)[1].strip() if " " in line.strip() else "")
        if frames:
            yield time, frames


def operation(frames):
    for table in (STAGES, OPERATIONS, PIECES):
        for frame in frames:
            for name, pattern in table:
                if re.search(pattern, frame):
                    return name
    return "the rest"


def shares(path):
    taken = list(samples(path))
    in_steps = [time for time, frames in taken if any(STEP.search(frame) for frame in frames)]
    if not in_steps:
        raise SystemExit(f"{path}: no sample lies in a training step; was the binary stripped of symbols?")
    first, last = min(in_steps), max(in_steps)
    counts = Counter(operation(frames) for time, frames in taken if first <= time <= last)
    total = sum(counts.values())
    return {name: 100 * count / total for name, count in counts.items()}, total


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    columns = [shares(path) for path in sys.argv[1:]]
    names = sorted({name for found, _ in columns for name in found}, key=lambda name: -columns[0][0].get(name, 0.0))
    print(f"| operation |{' % of CPU time |' * len(columns)}")
    print(f"| --- |{' ---: |' * len(columns)}")
    for name in names:
        print(f"| {name} | " + " | ".join(f"{found.get(name, 0.0):.1f}" for found, _ in columns) + " |")
    print("| samples | " + " | ".join(str(total) for _, total in columns) + " |")


if __name__ == "__main__":
    main()
