#!/usr/bin/env python3
"""Training steps of Twinflame and of PyTorch in turns, so that both meet the same neighbours on a shared machine.

    python rounds.py --twinflame ../../target/release/twinflame --rounds 3 vit-b-32:16 clip-28m.json:32
    python rounds.py --twinflame ../../target/release/twinflame --rounds 3 --albef path/to/ALBEF albef-base:4

Each argument is a model and a batch size. A model whose name starts with `albef` is compared by `bench_albef.py`, any other by
`bench_open_clip.py`; the Python that runs this one runs them. Prints a table in Markdown: for every round the ratio of the medians of
its steps, and for every figure the median over the rounds.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
FIGURES = {
    "step_cpu_ms": "step, CPU ms",
    "forward_cpu_ms": "forward, CPU ms",
    "backward_cpu_ms": "backward, CPU ms",
    "optimizer_cpu_ms": "optimiser, CPU ms",
    "step_ms": "step, wall ms",
    "peak_memory_bytes": "peak memory, MB",
}


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def take_turns(options, model, batch_size):
    steps = ["--batch-size", batch_size, "--steps", str(options.steps)]
    ours = [options.twinflame.resolve(), "bench", model, *steps, "--device", "cpu", "--json"]
    theirs = [sys.executable, "bench_open_clip.py", model, *steps, "--threads", str(options.threads), "--warmup", "2"]
    if model.startswith("albef"):
        theirs = [sys.executable, "bench_albef.py", "--albef", options.albef.resolve(), *steps]
        theirs += ["--threads", str(options.threads), "--warmup", "1"]
    rounds = []
    for number in range(options.rounds):
        print(f"{model}: round {number + 1} of {options.rounds}", file=sys.stderr)
        rounds.append((run(theirs), run(ours)))
    return rounds


def table(rounds):
    names = " | ".join(f"ratio {number}" for number in range(1, len(rounds) + 1))
    lines = [f"| median | PyTorch | Twinflame | {names} |", "| --- |" + " ---: |" * (len(rounds) + 2)]
    for key, name in FIGURES.items():
        if any(side.get(key) is None for pair in rounds for side in pair):
            continue
        unit = 1e6 if key.endswith("bytes") else 1.0
        sides = [statistics.median(pair[side][key] for pair in rounds) / unit for side in (0, 1)]
        ratios = " | ".join(f"{ours[key] / theirs[key]:.2f}" for theirs, ours in rounds)
        lines.append(f"| {name} | {sides[0]:,.0f} | {sides[1]:,.0f} | {ratios} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL:BATCH_SIZE")
    parser.add_argument("--twinflame", type=pathlib.Path, required=True, help="the binary, built with --release")
    parser.add_argument("--albef", type=pathlib.Path, help="a checkout of salesforce/ALBEF, for models named albef…")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    for argument in options.models:
        model, _, batch_size = argument.rpartition(":")
        if not model or not batch_size.isdigit():
            parser.error(f"{argument}: expected a model and a batch size, such as vit-b-32:16")
        if model.startswith("albef") and options.albef is None:
            parser.error(f"{argument}: --albef must name a checkout of salesforce/ALBEF")
        print(f"\n{model}, batch {batch_size}\n\n{table(take_turns(options, model, batch_size))}", flush=True)


if __name__ == "__main__":
    main()
