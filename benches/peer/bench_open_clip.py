#!/usr/bin/env python3
"""Times one training step of an open_clip model in PyTorch: forward, backward and AdamW, by default on the CPU in float32.

    pip install -r requirements.txt
    twinflame bench vit-b-32 --batch-size 16 --device cpu --json > twinflame.json
    python bench_open_clip.py vit-b-32 --batch-size 16 --threads 2 --twinflame twinflame.json
    python bench_open_clip.py vit-b-32 --batch-size 1024 --device cuda --precision bf16 --compile

Model names are open_clip's, in any case, or `emoji-rn`, the small model of the embedded set, or a file in open_clip's format
such as `clip-28m.json`. Inputs are random and made
outside the timed part. `--compile` is open_clip's `--torchcompile`, and `--tf32` what its training sets on every GPU. CPU time is user plus system time of the whole process; on a machine that does other work it is
the number to trust, and wall time is not.

Prints one JSON object with the names of `twinflame bench --json`: `step_ms`, `forward_ms`, … are wall times and
`step_cpu_ms`, … CPU times, medians. With `--twinflame FILE` it also holds `ratio`, Twinflame's figure over PyTorch's for
each that both have (above 1: Twinflame is slower or larger), and a table goes to standard error.
"""

import json
import math

import step_times
from step_times import StepClock, peak_bytes

EMOJI_RN = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "text_cfg": {"context_length": 24, "vocab_size": 8192, "width": 128, "heads": 2, "layers": 1},
}


def configuration(name: str) -> dict:
    """The model's configuration: ours for `emoji-rn`, that of a `.json` file, else open_clip's, found whatever the case."""
    import open_clip

    if name.endswith(".json"):
        with open(name, encoding="utf-8") as file:
            return json.load(file)
    if name == "emoji-rn":
        return EMOJI_RN
    for known in open_clip.list_models():
        if known.lower() == name.lower():
            return open_clip.get_model_config(known)
    raise SystemExit(f"unknown model {name!r}: give emoji-rn, a .json file or one of open_clip.list_models()")


def adamw(model, torch):
    """open_clip's AdamW: no decay for gains, biases and the logit scale."""
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        exclude = parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (plain if exclude else decayed).append(parameter)
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.2}]
    return torch.optim.AdamW(groups, lr=5e-4, betas=(0.9, 0.98), eps=1e-6)


def measure(options) -> dict:
    torch = step_times.load_torch(options)
    import open_clip
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    start_memory = peak_bytes()
    config = configuration(options.model)
    vision, text = CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"])
    model = CLIP(config["embed_dim"], vision, text, quick_gelu=config.get("quick_gelu", False))
    model.train().to(options.device)
    optimizer, loss_of = adamw(model, torch), ClipLoss()
    run = torch.compile(model) if options.compile else model
    images = torch.randn(options.batch_size, 3, vision.image_size, vision.image_size)
    tokens = torch.randint(1, text.vocab_size - 2, (options.batch_size, text.context_length))
    tokens[:, 0], tokens[:, -1] = text.vocab_size - 2, text.vocab_size - 1

    images, tokens = step_times.on_host(images, options), step_times.on_host(tokens, options)

    clock = StepClock(options, torch)
    for _ in clock.steps():
        inputs = [tensor.to(options.device, non_blocking=True) for tensor in (images, tokens)]
        clock.lap("data")
        with step_times.autocast(options, torch):
            loss = loss_of(*run(*inputs))
        clock.lap("forward")
        optimizer.zero_grad()
        loss.backward()
        clock.lap("backward")
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        clock.lap("optimizer")
    if not loss.isfinite():
        raise SystemExit(f"the loss is {loss.item()}: what was timed is no training")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return step_times.result(
        options, clock, torch, start_memory, open_clip=open_clip.__version__, compile=options.compile, parameters=parameters
    )


def main():
    parser = step_times.argument_parser(__doc__, model="vit-b-32", batch_size=16, warmup=2, steps=10)
    parser.add_argument("--compile", action="store_true", help="run the model through torch.compile")
    options = parser.parse_args()
    step_times.report(measure(options), options.twinflame)


if __name__ == "__main__":
    main()
