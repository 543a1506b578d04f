#!/usr/bin/env python3
"""Trains open_clip's own CLIP on the emoji set with the quick-start recipe, as a peer to compare with.

The model is `open_clip.model.CLIP`: modified ResNet, one block per stage, width 16, at 32 px; a text transformer of one
layer, width 128, context 24; embed 128. open_clip has no bag-of-words text tower, so with `--text cbow` that one tower
(`CbowText`, 20 lines) is defined here; everything else of the model stays open_clip's. The data path is ours, and
vectorised over the batch, so that the processor time is the model's and not the augmentation's.

    pip install -r requirements.txt
    python train_emoji.py --data ../../assets/emoji --preset cbow --seed 0 --threads 2

`--preset` sets the recipe (`PRESETS` below); any single option given beside it wins. For a comparison run seeds 0, 1, 2.

The last line on standard output is one JSON object: the options, retrieval on the test sets A (known emoji, held-out
vendor), B (held-out emoji, known vendors) and C (both held out), zero-shot accuracy, and CPU and wall seconds. Captions
of the test are labels; figures that end in `_tags` have the tags appended to them, an easier task on unseen emoji.
"""

import argparse
import copy
import functools
import gzip
import json
import math
import os
import random
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a spinning pool inflates CPU time on a shared machine

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

TRAIN_VENDORS = ["noto", "notov1", "fluent", "fluentflat", "emojitwo", "fxemoji"]
TEST_VENDOR = "twemoji"
CELL, COLUMNS = 64, 40
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])
CAPTION_TEMPLATES = ["an emoji of", "a picture of", "an icon of", "a drawing of", "a small image of"]
ZERO_SHOT_TEMPLATES = ["{}", "an emoji of {}", "a picture of {}", "an icon of {}"]
PRESETS = {
    # A causal transformer as text tower, wide augmentation.
    "transformer": {"text": "transformer", "lr": 1e-3, "scale": [0.5, 1.2], "grey": 0.15, "translate": 0.0,
                    "init_scale": 1 / 0.07},
    # No attention in the text tower, gentler pictures, larger steps: reaches the same recall in less CPU time.
    "cbow": {"text": "cbow", "lr": 3e-3, "scale": [0.75, 1.15], "grey": 0.05, "translate": 0.05, "init_scale": 30.0},
}


# --- text ---------------------------------------------------------------------------------------------------------

class Tokenizer(SimpleTokenizer):
    """CLIP's byte-pair encoding cut to its `vocab_size` most frequent ids: 512 bytes, merges, start and end of text."""

    def __init__(self, vocab_size: int, context: int):
        super().__init__(context_length=context)
        ordered = [token for token, _ in sorted(self.encoder.items(), key=lambda item: item[1])]
        specials = ordered[-2:]
        vocabulary = ordered[: vocab_size - 2] + specials
        self.encoder = {token: index for index, token in enumerate(vocabulary)}
        self.decoder = {index: token for token, index in self.encoder.items()}
        merges = vocab_size - 2 - 512
        self.bpe_ranks = {pair: rank for pair, rank in self.bpe_ranks.items() if rank < merges}
        self.cache = {token: token for token in specials}
        self.vocab_size = vocab_size
        self.all_special_ids = [self.encoder[token] for token in specials]
        self.sot_token_id, self.eot_token_id = self.all_special_ids
        # A caption is a list of pieces; each is encoded once. Pieces are joined with a space, and the encoding splits
        # at spaces and punctuation anyway, so the ids equal those of the joined text.
        self.piece = functools.lru_cache(maxsize=None)(self.encode)

    def batch(self, captions: list) -> torch.Tensor:
        """Ids `[batch, context]` of captions given as text or as lists of pieces; zero padded, cut keeping the end."""
        ids = torch.zeros(len(captions), self.context_length, dtype=torch.long)
        for row, caption in enumerate(captions):
            pieces = [caption] if isinstance(caption, str) else caption
            body = [token for piece in pieces for token in self.piece(piece)][: self.context_length - 2]
            tokens = [self.sot_token_id, *body, self.eot_token_id]
            ids[row, : len(tokens)] = torch.tensor(tokens)
        return ids


def draw_caption(emoji: dict, rng: random.Random, word_dropout: float) -> list:
    """One training caption: 45 % label, 30 % label with tags or subgroup, 15 % tags, 10 % subgroup or group."""
    label, tags = emoji["label"], emoji["tags"]
    kind, (a, b, c) = rng.random(), (0.45, 0.30, 0.15)

    def some_tags(most: int) -> list:
        chosen = rng.sample(tags, min(len(tags), rng.randint(1, most)))
        return [piece for tag in chosen for piece in (tag, ",")][:-1]

    if kind < a or (a + b <= kind < a + b + c and not tags):
        caption = [label]
        if rng.random() < 0.5:
            caption = [rng.choice(CAPTION_TEMPLATES), *caption]
    elif kind < a + b:
        extra = some_tags(3) if tags and rng.random() < 0.6 else [emoji["subgroup"]]
        caption = [label, ",", *extra]
    elif kind < a + b + c:
        caption = some_tags(4)
    else:
        caption = [emoji["subgroup"] if rng.random() < 0.5 else emoji["group"]]
        if rng.random() < 0.5:
            caption = [rng.choice(CAPTION_TEMPLATES), *caption]
    if word_dropout:
        words = " ".join(caption).split()
        kept = [word for word in words if rng.random() >= word_dropout]
        caption = kept or [rng.choice(words)]
    return caption


# --- pictures -----------------------------------------------------------------------------------------------------

class Emoji:
    """Captions, splits and all pictures of the emoji set: premultiplied RGBA, u8, whole and at the training size."""

    def __init__(self, folder: Path, train_size: int):
        with gzip.open(folder / "emoji.jsonl.gz", "rt", encoding="utf-8") as lines:
            self.rows = [json.loads(line) for line in lines]
        for row in self.rows:
            if row["subgroup"] is None:
                row["subgroup"] = row["group"]
        cells, index = [], {}
        for vendor in [*TRAIN_VENDORS, TEST_VENDOR]:
            sheet = np.asarray(Image.open(folder / f"{vendor}.webp").convert("RGBA"))
            for number, row in enumerate(self.rows):
                if vendor in row["at"]:
                    y, x = divmod(row["at"][vendor], COLUMNS)
                    index[number, vendor] = len(cells)
                    cell = sheet[y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL].astype(np.float32)
                    cell[..., :3] *= cell[..., 3:] / 255
                    cells.append(cell.round().astype(np.uint8).transpose(2, 0, 1))
        self.pictures = torch.from_numpy(np.stack(cells))
        self.small = torch.cat([F.interpolate(part.float(), (train_size, train_size), mode="area").round().to(torch.uint8)
                                for part in self.pictures.split(512)])

        def pairs(split, vendors):
            return [(number, index[number, vendor]) for number, row in enumerate(self.rows)
                    if row["split"] == split for vendor in vendors if (number, vendor) in index]

        self.train = pairs("train", TRAIN_VENDORS)
        known = {number for number, _ in self.train}
        self.tests = {
            "A": [pair for pair in pairs("train", [TEST_VENDOR]) if pair[0] in known],
            "B": pairs("test", TRAIN_VENDORS),
            "C": pairs("test", [TEST_VENDOR]),
        }


def augment(cells: torch.Tensor, size: int, options, rng: torch.Generator) -> torch.Tensor:
    """Random scale, rotation, shift, background and colours of premultiplied RGBA cells `[n, 4, size, size]`.

    Returns normalised RGB `[n, 3, size, size]`.
    """
    n = len(cells)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(shape or (n,), generator=rng)

    # Affine map from the canvas to the cell.
    scale = uniform(options.scale[0], options.scale[1])
    angle = uniform(-math.radians(options.rotation), math.radians(options.rotation))
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # A share of the canvas; the canvas of an affine grid is 2 wide.
    dx, dy = (uniform(-2 * options.translate, 2 * options.translate) for _ in range(2))
    theta = torch.stack([cos, -sin, -cos * dx + sin * dy, sin, cos, -sin * dx - cos * dy], 1).view(n, 2, 3)
    grid = F.affine_grid(theta, (n, 4, size, size), align_corners=False)
    rgba = F.grid_sample(cells.float().div_(255), grid, align_corners=False)
    white = (uniform(0, 1) < options.white)[:, None]
    background = torch.where(white, torch.ones(n, 3), uniform(0, 1, n, 3))
    rgb = rgba[:, :3] + (1 - rgba[:, 3:]) * background[:, :, None, None]
    return jitter(rgb, options, uniform)


def jitter(rgb: torch.Tensor, options, uniform) -> torch.Tensor:
    """Brightness, contrast, saturation and greyscale, composed into one 3 x 3 map and offset per picture."""
    n, _, height, width = rgb.shape
    b, c, s = options.jitter
    brightness, contrast = uniform(1 - b, 1 + b), uniform(1 - c, 1 + c)
    saturation = torch.where(uniform(0, 1) < options.grey, torch.zeros(n), uniform(1 - s, 1 + s))
    luma = torch.tensor([0.299, 0.587, 0.114])
    pixels = rgb.view(n, 3, -1)
    mean = (pixels.mean(2) @ luma) * brightness
    mix = saturation[:, None, None] * torch.eye(3) + (1 - saturation)[:, None, None] * luma.expand(3, 3)
    mix = mix * (brightness * contrast)[:, None, None]
    offset = ((1 - contrast) * mean)[:, None, None].expand(n, 3, 1)
    pixels = torch.baddbmm(offset, mix, pixels).clamp_(0, 1)
    rgb = pixels.view(n, 3, height, width)
    return (rgb - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


def plain(cells: torch.Tensor, size: int) -> torch.Tensor:
    """Cells on white, resized (antialiased bicubic), normalised: the pictures of the evaluation."""
    rgba = cells.float() / 255
    rgb = rgba[:, :3] + (1 - rgba[:, 3:])
    if size != CELL:
        rgb = F.interpolate(rgb, (size, size), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return (rgb - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


def batches(pairs: list, size: int, rng: random.Random):
    """Endless batches without two pictures of one emoji: shuffled epochs, a clash waits for the next batch."""
    while True:
        order, waiting = rng.sample(pairs, len(pairs)), []
        position = 0
        while True:
            batch, seen, later = [], set(), []
            for pair in waiting:
                (later if pair[0] in seen or len(batch) == size else batch).append(pair)
                seen.add(pair[0])
            while len(batch) < size and position < len(order):
                pair = order[position]
                position += 1
                (later if pair[0] in seen else batch).append(pair)
                seen.add(pair[0])
            waiting = later
            if len(batch) < size:
                break  # the rest of an epoch is dropped
            yield batch


# --- model --------------------------------------------------------------------------------------------------------

class CbowText(torch.nn.Module):
    """Mean of the token embeddings from start to end of text, then a projection without bias; no normalisation."""

    def __init__(self, vocab_size: int, width: int, embed_dim: int):
        super().__init__()
        self.token_embedding = torch.nn.Embedding(vocab_size, width)
        torch.nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.text_projection = torch.nn.Parameter(torch.randn(width, embed_dim) * width**-0.5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        real = (torch.arange(ids.shape[1]) <= ids.argmax(1, keepdim=True)).float()  # up to and with the end of text
        weight = (real / real.sum(1, keepdim=True)).unsqueeze(1)
        mean = (weight @ self.token_embedding(ids)).squeeze(1)
        return mean @ self.text_projection


def build(options) -> torch.nn.Module:
    vision = CLIPVisionCfg(layers=options.layers, width=options.width, image_size=options.image_size, patch_size=None)
    text = CLIPTextCfg(context_length=options.context, vocab_size=options.vocab, width=options.text_width,
                       heads=options.text_width // 64, layers=options.text_layers)
    model = CLIP(options.embed, vision, text, init_logit_scale=math.log(options.init_scale))
    if options.text == "cbow":
        cbow = CbowText(options.vocab, options.text_width, options.embed)
        for name in ["transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection"]:
            delattr(model, name)
        model.cbow = cbow
        model.encode_text = lambda ids, normalize=False: F.normalize(cbow(ids), dim=-1) if normalize else cbow(ids)
    return model


def adamw(model: torch.nn.Module, options) -> torch.optim.AdamW:
    """open_clip's two groups: no decay for gains, biases and the logit scale."""
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        exclude = parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (plain if exclude else decayed).append(parameter)
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": options.weight_decay}]
    return torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, options.beta2), eps=options.eps)


def learning_rate(step: int, options) -> float:
    warmup = int(options.warmup * options.steps)
    if step < warmup:
        return options.lr * (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (options.steps - warmup))) * options.lr


def contrastive(image, text, scale, targets, smoothing):
    """Symmetric cross-entropy against row-normalised `targets` (`None` = the diagonal)."""
    logits = scale * image @ text.T
    if targets is None:
        index = torch.arange(len(logits))
        return (F.cross_entropy(logits, index, label_smoothing=smoothing)
                + F.cross_entropy(logits.T, index, label_smoothing=smoothing)) / 2
    rows, columns = targets / targets.sum(1, keepdim=True), targets.T / targets.T.sum(1, keepdim=True)
    return (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, columns)) / 2


# --- evaluation ---------------------------------------------------------------------------------------------------

@torch.inference_mode()
def evaluate(model, data: Emoji, tokenizer: Tokenizer, options) -> dict:
    """Recall@1/5/10 both ways and zero-shot top-1 of groups and subgroups, on A, B and C."""
    model.eval()

    def embed_text(texts):
        return torch.cat([model.encode_text(tokenizer.batch(texts[i : i + 512]), normalize=True)
                          for i in range(0, len(texts), 512)])

    classes = {}
    for field in ("group", "subgroup"):
        names = sorted({row[field] for row in data.rows})
        prompts = torch.stack([embed_text([template.format(name) for name in names]) for template in ZERO_SHOT_TEMPLATES])
        classes[field] = (names, F.normalize(prompts.mean(0), dim=-1))
    report = {}
    for name, pairs in data.tests.items():
        cells = torch.tensor([cell for _, cell in pairs])
        images = torch.cat([model.encode_image(plain(data.pictures[part], options.image_size), normalize=True)
                            for part in cells.split(512)])
        split = "train" if name == "A" else "test"
        numbers = [number for number, row in enumerate(data.rows) if row["split"] == split]
        labels = [data.rows[number]["label"] for number in numbers]
        texts = embed_text(labels)
        column = {label: position for position, label in enumerate(labels)}
        target = torch.tensor([column[data.rows[number]["label"]] for number, _ in pairs])
        scores = images @ texts.T  # [pictures, captions]
        positive = F.one_hot(target, len(labels)).bool()
        pictured = positive.any(0)
        result = {
            "images": len(images), "captions": len(labels),
            "image_to_text": recalls(scores, positive),
            "text_to_image": recalls(scores.T[pictured], positive.T[pictured]),
        }
        rich = embed_text([", ".join([data.rows[number]["label"], *data.rows[number]["tags"]]) for number in numbers])
        scores = images @ rich.T
        result["image_to_text_tags"] = recalls(scores, positive)
        result["text_to_image_tags"] = recalls(scores.T[pictured], positive.T[pictured])
        for field, (names, prompts) in classes.items():
            truth = torch.tensor([names.index(data.rows[number][field]) for number, _ in pairs])
            result[f"zero_shot_{field}"] = round((images @ prompts.T).argmax(1).eq(truth).float().mean().item(), 4)
        report[name] = result
    model.train()
    return report


def recalls(scores: torch.Tensor, positive: torch.Tensor) -> list:
    """Share of rows with any positive among the best 1, 5, 10."""
    best = scores.topk(10, dim=1).indices
    hit = positive.gather(1, best)
    return [round(hit[:, :k].any(1).float().mean().item(), 4) for k in (1, 5, 10)]


# --- run ----------------------------------------------------------------------------------------------------------

def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def brief(report: dict) -> str:
    parts = []
    for name, result in report.items():
        i2t, t2i = result["image_to_text"][0], result["text_to_image"][0]
        parts.append(f"{name} {i2t:.3f}/{t2i:.3f} zs {result['zero_shot_group']:.2f}/{result['zero_shot_subgroup']:.2f}")
    return "  ".join(parts)


def train(options) -> dict:
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rng, noise = random.Random(options.seed), torch.Generator().manual_seed(options.seed)
    data, tokenizer = Emoji(options.data, options.image_size), Tokenizer(options.vocab, options.context)
    model = build(options)
    model.train()
    model.visual.to(memory_format=torch.channels_last)  # a third off the image tower's time
    optimizer = adamw(model, options)
    average = copy.deepcopy(model) if options.ema else None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(data.train)} training pairs, {parameters} parameters, "
          + ", ".join(f"{name} {len(pairs)}" for name, pairs in data.tests.items()), file=sys.stderr, flush=True)
    stream = batches(data.train, options.batch_size, rng)
    start_cpu, start_wall, spent_on_data = cpu_seconds(), time.monotonic(), 0.0
    for step in range(options.steps):
        before = cpu_seconds()
        pairs = next(stream)
        images, captions, targets = make_batch(pairs, data, rng, noise, options)
        ids = tokenizer.batch(captions)
        spent_on_data += cpu_seconds() - before
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options)
        image, text = model.encode_image(images, normalize=True), model.encode_text(ids, normalize=True)
        loss = contrastive(image, text, model.logit_scale.exp(), targets, options.smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(options.max_scale))
            if average is not None:
                decay = min(options.ema, (step + 1) / (step + 10))
                for mean, value in zip(average.state_dict().values(), model.state_dict().values()):
                    mean.lerp_(value, 1 - decay) if mean.is_floating_point() else mean.copy_(value)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}/{options.steps} loss {loss.item():.4f} scale {model.logit_scale.exp().item():.1f} "
                  f"cpu {cpu_seconds() - start_cpu:.0f} s (data {spent_on_data:.0f} s)", file=sys.stderr, flush=True)
        if options.eval_every and (step + 1) % options.eval_every == 0 and step + 1 < options.steps:
            print(f"  at {step + 1}: {brief(evaluate(model, data, tokenizer, options))}", file=sys.stderr, flush=True)
    train_cpu, train_wall = cpu_seconds() - start_cpu, time.monotonic() - start_wall
    report = evaluate(model, data, tokenizer, options)
    print(f"final: {brief(report)}", file=sys.stderr, flush=True)
    result = {
        "options": {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
        "torch": torch.__version__, "parameters": parameters, "final_loss": loss.item(),
        "logit_scale": model.logit_scale.exp().item(),
        "train_cpu_s": round(train_cpu, 1), "data_cpu_s": round(spent_on_data, 1), "train_wall_s": round(train_wall, 1),
        "total_cpu_s": round(cpu_seconds(), 1), "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "test": report,
    }
    if average is not None:
        result["test_ema"] = evaluate(average, data, tokenizer, options)
        print(f"ema:   {brief(result['test_ema'])}", file=sys.stderr, flush=True)
    return result


def make_batch(pairs, data: Emoji, rng, noise, options):
    """Pictures, captions and targets (`None`: the diagonal) of one step."""
    cells = data.small[torch.tensor([cell for _, cell in pairs])]
    captions = [draw_caption(data.rows[number], rng, options.word_dropout) for number, _ in pairs]
    images = augment(cells, options.image_size, options, noise)
    targets = None
    if options.targets == "by-id":
        text = {}
        key = torch.tensor([text.setdefault(" ".join(caption), len(text)) for caption in captions])
        same = torch.tensor([number for number, _ in pairs])
        targets = ((key[:, None] == key) | (same[:, None] == same)).float()
    return images, captions, targets


def options_from(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with emoji.jsonl and the vendors' sheets")
    add("--preset", choices=sorted(PRESETS), default="cbow")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    add("--steps", type=int, default=2400)
    add("--batch-size", type=int, default=256)
    add("--eval-every", type=int, default=0, help="also evaluate every N steps (costs processor time)")
    add("--image-size", type=int, default=32)
    add("--layers", type=int, nargs=4, default=[1, 1, 1, 1])
    add("--width", type=int, default=16)
    add("--text", choices=["transformer", "cbow"], default="transformer")
    add("--text-width", type=int, default=128)
    add("--text-layers", type=int, default=1)
    add("--context", type=int, default=24)
    add("--vocab", type=int, default=8192)
    add("--embed", type=int, default=128)
    add("--lr", type=float, default=1e-3)
    add("--beta2", type=float, default=0.98)
    add("--eps", type=float, default=1e-8)
    add("--weight-decay", type=float, default=0.1)
    add("--warmup", type=float, default=0.1, help="share of the steps")
    add("--init-scale", type=float, default=1 / 0.07)
    add("--max-scale", type=float, default=100.0)
    add("--scale", type=float, nargs=2, default=[0.5, 1.2])
    add("--rotation", type=float, default=15.0, help="degrees")
    add("--translate", type=float, default=0.0, help="largest shift, as a share of the picture")
    add("--jitter", type=float, nargs=3, default=[0.3, 0.3, 0.5], help="brightness, contrast, saturation")
    add("--grey", type=float, default=0.15)
    add("--white", type=float, default=0.8)
    add("--targets", choices=["diagonal", "by-id"], default="diagonal")
    add("--ema", type=float, default=0.0)
    add("--smoothing", type=float, default=0.0)
    add("--word-dropout", type=float, default=0.0)
    parser.set_defaults(**PRESETS[parser.parse_known_args(arguments)[0].preset])
    return parser.parse_args(arguments)


if __name__ == "__main__":
    print(json.dumps(train(options_from())))
