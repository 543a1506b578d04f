#!/usr/bin/env python3
"""Times one pre-training step of salesforce/ALBEF in PyTorch, by default on the CPU in float32: its own model, losses,
momentum update, queue and optimiser.

    git clone https://github.com/salesforce/ALBEF
    pip install -r requirements-albef.txt
    twinflame bench albef-base --batch-size 4 --device cpu --json > twinflame.json
    python bench_albef.py --albef ALBEF --batch-size 4 --threads 2 --twinflame twinflame.json

The shapes are those of its `configs/Pretrain.yaml`: images of 256 pixels (384 for `albef-base-384`), a queue of 65,536,
and 25 tokens, the most that it reads, in every text; alpha is 0.4, its value after the first epoch. Weights and inputs
are random; inputs are made outside the timed part. Momentum update and queue run in the middle of its forward pass; their
time counts as the optimiser's, which is where Twinflame has them.

`--device cuda` makes the GPU the default device of everything that it makes: it makes masks without naming one, and today's PyTorch
does not combine tensors of two devices as the one it was written for did. Its batch has to divide the queue. The reference trains in
f32; `--precision bf16` is this script's addition.

None of its files is changed. `load` replaces at run time what one process without a network cannot have: pre-trained
weights, tokenizer, `torch.distributed`; and decorators that today's transformers calls otherwise.

Output as of `bench_open_clip.py`.
"""

import sys
import warnings
from functools import wraps
from pathlib import Path
from types import SimpleNamespace

import step_times
from step_times import StepClock, peak_bytes

IMAGE_SIZES = {"albef-base": 256, "albef-base-384": 384}
NUM_TOKENS = 25
QUEUE_SIZE = 65_536
VOCAB_SIZE = 30522
# Of bert-base-uncased. Ordinary words follow.
PAD_ID, CLS_ID, MASK_ID = 0, 101, 103
ALPHA = 0.4


def load(path: str) -> SimpleNamespace:
    """The reference's model and optimiser, able to run in one process without a network."""
    if not Path(path, "models", "model_pretrain.py").is_file():
        raise SystemExit(f"{path} is no clone of https://github.com/salesforce/ALBEF: no models/model_pretrain.py")
    sys.path.insert(0, path)
    warnings.filterwarnings("ignore", category=FutureWarning)  # timm's, about import paths
    warnings.filterwarnings("ignore", category=SyntaxWarning)
    import transformers.file_utils

    # Their keywords have changed; all they do is to write docstrings.
    for name in (
        "add_code_sample_docstrings",
        "add_start_docstrings",
        "add_start_docstrings_to_model_forward",
        "replace_return_docstrings",
    ):
        setattr(transformers.file_utils, name, lambda *_, **__: lambda documented: documented)
    from models import model_pretrain
    from optim import create_optimizer

    model_pretrain.BertForMaskedLM.from_pretrained = classmethod(lambda bert, _, config: bert(config))
    model_pretrain.concat_all_gather = lambda features: features  # what it gathers from one process
    return SimpleNamespace(Albef=model_pretrain.ALBEF, create_optimizer=create_optimizer)


def build(reference: SimpleNamespace, options):
    """The model as `Pretrain.py` makes it, with random weights."""
    config = {
        "bert_config": str(Path(options.albef, "configs", "config_bert.json")),
        "image_res": IMAGE_SIZES[options.model], "vision_width": 768, "embed_dim": 256, "temp": 0.07,
        "mlm_probability": 0.15, "queue_size": QUEUE_SIZE, "momentum": 0.995,
    }
    tokenizer = SimpleNamespace(pad_token_id=PAD_ID, cls_token_id=CLS_ID, mask_token_id=MASK_ID)
    model = reference.Albef(config=config, text_encoder=None, tokenizer=tokenizer, init_deit=False)
    bert = model.text_encoder
    if bert.cls.predictions.decoder.weight is not bert.bert.embeddings.word_embeddings.weight:
        raise SystemExit("the token predictions are not tied to the embeddings: install requirements-albef.txt")
    return model.train()


def count_as_optimizer(clock: StepClock, method):
    """`method`, its time counted as the optimiser's though it is called in the forward pass."""

    @wraps(method)
    def timed(*arguments):
        clock.lap("forward")
        result = method(*arguments)
        clock.lap("optimizer")
        return result

    return timed


def measure(options) -> dict:
    torch = step_times.load_torch(options)
    torch.set_default_device(options.device)
    reference = load(options.albef)
    import timm
    import transformers

    start_memory = peak_bytes()
    model = build(reference, options)
    settings = SimpleNamespace(opt="adamW", lr=1e-4, weight_decay=0.02)
    optimizer = reference.create_optimizer(settings, model)
    size = IMAGE_SIZES[options.model]
    images = step_times.on_host(torch.randn(options.batch_size, 3, size, size, device="cpu"), options)
    tokens = torch.randint(MASK_ID + 1, VOCAB_SIZE, (options.batch_size, NUM_TOKENS), device="cpu")
    tokens[:, 0] = CLS_ID  # and no [SEP], as its tokenizer
    tokens = step_times.on_host(tokens, options)

    clock = StepClock(options, torch)
    model._momentum_update = count_as_optimizer(clock, model._momentum_update)
    model._dequeue_and_enqueue = count_as_optimizer(clock, model._dequeue_and_enqueue)
    for _ in clock.steps():
        optimizer.zero_grad()
        clock.lap("backward")
        pixels, ids = (tensor.to(options.device, non_blocking=True) for tensor in (images, tokens))
        text = SimpleNamespace(input_ids=ids, attention_mask=torch.ones_like(ids))
        clock.lap("data")
        with step_times.autocast(options, torch):
            loss = sum(model(pixels, text, alpha=ALPHA))
        clock.lap("forward")
        loss.backward()
        clock.lap("backward")
        optimizer.step()
        clock.lap("optimizer")
    if not loss.isfinite():
        raise SystemExit(f"the loss is {loss.item()}: what was timed is no training")
    sizes = {flag: sum(p.numel() for p in model.parameters() if p.requires_grad == flag) for flag in (True, False)}
    return step_times.result(
        options, clock, torch, start_memory, transformers=transformers.__version__, timm=timm.__version__,
        parameters=sizes[True], momentum_parameters=sizes[False],
    )


def main():
    parser = step_times.argument_parser(__doc__, model="albef-base", batch_size=4, warmup=1, steps=3)
    parser.add_argument("--albef", required=True, metavar="PATH", help="clone of https://github.com/salesforce/ALBEF")
    options = parser.parse_args()
    if options.model not in IMAGE_SIZES:
        raise SystemExit(f"unknown model {options.model!r}: give {' or '.join(IMAGE_SIZES)}")
    if QUEUE_SIZE % options.batch_size != 0:
        raise SystemExit(f"--batch-size {options.batch_size}: it has to divide the queue of {QUEUE_SIZE}, as 64 does")
    step_times.report(measure(options), options.twinflame)


if __name__ == "__main__":
    main()
