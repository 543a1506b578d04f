#!/usr/bin/env python3
"""Times one training step of an open_clip model in PyTorch: forward, backward and AdamW, on the CPU, float32.

    pip install -r requirements.txt
    twinflame bench vit-b-32 --batch-size 16 --device cpu --json > twinflame.json
    python bench_open_clip.py vit-b-32 --batch-size 16 --threads 2 --twinflame twinflame.json

Model names are open_clip's, in any case, or `emoji-rn`, the small model of the embedded set. Inputs are random and made
outside the timed part. CPU time is user plus system time of the whole process; on a machine that does other work it is
the number to trust, and wall time is not. PyTorch's thread pool is told to sleep when idle: spinning counts as CPU time.

Prints one JSON object with the names of `twinflame bench --json`: `step_ms`, `forward_ms`, … are wall times and
`step_cpu_ms`, … CPU times, medians. With `--twinflame FILE` it also holds `ratio`, Twinflame's figure over PyTorch's for
each that both have (above 1: Twinflame is slower or larger), and a table goes to standard error.
"""

import argparse
import json
import math
import os
import platform
import resource
import statistics
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded

PARTS = ("forward", "backward", "optimizer", "step")
EMOJI_RN = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "text_cfg": {"context_length": 24, "vocab_size": 8192, "width": 128, "heads": 2, "layers": 1},
}


def configuration(name: str) -> dict:
    """The model's configuration: ours for `emoji-rn`, else open_clip's, found whatever the case."""
    import open_clip

    if name == "emoji-rn":
        return EMOJI_RN
    for known in open_clip.list_models():
        if known.lower() == name.lower():
            return open_clip.get_model_config(known)
    raise SystemExit(f"unknown model {name!r}: give emoji-rn or one of open_clip.list_models()")


def adamw(model, torch):
    """open_clip's AdamW: no decay for gains, biases and the logit scale."""
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        exclude = parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (plain if exclude else decayed).append(parameter)
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.2}]
    return torch.optim.AdamW(groups, lr=5e-4, betas=(0.9, 0.98), eps=1e-6)


def now() -> tuple:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def measure(options) -> dict:
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    start_memory = peak_bytes()  # the libraries alone
    config = configuration(options.model)
    vision, text = CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"])
    model = CLIP(config["embed_dim"], vision, text, quick_gelu=config.get("quick_gelu", False))
    model.train()
    optimizer, loss_of = adamw(model, torch), ClipLoss()
    images = torch.randn(options.batch_size, 3, vision.image_size, vision.image_size)
    tokens = torch.randint(1, text.vocab_size - 2, (options.batch_size, text.context_length))
    tokens[:, 0], tokens[:, -1] = text.vocab_size - 2, text.vocab_size - 1

    samples = {part: [] for part in PARTS}
    for step in range(options.warmup + options.steps):
        marks = [now()]
        image = model.encode_image(images, normalize=True)
        caption = model.encode_text(tokens, normalize=True)
        loss = loss_of(image, caption, model.logit_scale.exp())
        marks.append(now())
        optimizer.zero_grad()
        loss.backward()
        marks.append(now())
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        marks.append(now())
        if step >= options.warmup:
            for part, start, end in zip(PARTS, [*marks[:3], marks[0]], [*marks[1:], marks[3]]):
                samples[part].append((end[0] - start[0], end[1] - start[1]))

    times = {}
    for part, taken in samples.items():
        for suffix, index in (("ms", 0), ("cpu_ms", 1)):
            times[f"{part}_{suffix}"] = round(statistics.median(sample[index] for sample in taken) * 1e3, 3)
    return {
        "model": options.model, "device": "cpu", "precision": "f32", "batch_size": options.batch_size,
        "threads": options.threads, "steps": options.steps, "torch": torch.__version__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()), **times,
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
    names = [f"{part}_{suffix}" for suffix in ("ms", "cpu_ms") for part in PARTS] + ["peak_memory_bytes"]
    shared = [name for name in names if ours.get(name) and peer[name]]
    if "step_ms" not in shared:
        raise SystemExit(f"{path}: no step_ms; expected the output of `twinflame bench --json`")
    print(f"{'':20}{'PyTorch':>16}{'Twinflame':>16}{'ratio':>8}", file=sys.stderr)
    for name in shared:
        print(f"{name:20}{peer[name]:16,.1f}{ours[name]:16,.1f}{ours[name] / peer[name]:8.2f}", file=sys.stderr)
    return {name: round(ours[name] / peer[name], 3) for name in shared}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="vit-b-32")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=2, help="steps not counted")
    parser.add_argument("--steps", type=int, default=10, help="steps measured; the median is reported")
    parser.add_argument("--twinflame", help="JSON file from `twinflame bench … --json` to compare with")
    options = parser.parse_args()
    result = measure(options)
    if options.twinflame:
        result["ratio"] = compare(result, options.twinflame)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
