"""Small open_clip models with random weights: what they compute from random input.

Writes OUT/NAME/{model.json,model.safetensors,inputs.safetensors,outputs.safetensors} for each of MODELS.
"""

import json
import sys
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

TEXT = {"context_length": 16, "vocab_size": 512, "width": 64, "heads": 2, "layers": 3}
VIT = {"image_size": 64, "layers": 3, "width": 96, "head_width": 32}
# The towers of RN50, ViT-B-32, ViT-B-32-quickgelu and ViT-B-16-SigLIP, few, narrow and on small pictures. Of SigLIP it is
# the logits: their scale and bias.
MODELS = {
    "rn50": {"vision_cfg": {"image_size": 64, "layers": [3, 4, 6, 3], "width": 16, "patch_size": None}},
    "vit-b-32": {"vision_cfg": {**VIT, "patch_size": 32}},
    "vit-b-32-quickgelu": {"vision_cfg": {**VIT, "patch_size": 32}, "quick_gelu": True},
    "vit-b-16-siglip": {
        "vision_cfg": {**VIT, "patch_size": 16},
        "init_logit_scale": 2.302585092994046,
        "init_logit_bias": -10.0,
    },
}


def main(out: Path) -> None:
    for seed, (name, config) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        config = {"embed_dim": 48, "text_cfg": TEXT, **config}
        model = open_clip.model.CLIP(**config)
        randomize(model)
        model.eval()
        size = config["vision_cfg"]["image_size"]
        images = torch.randn(4, 3, size, size)
        tokens = torch.randint(1, TEXT["vocab_size"] - 2, (4, TEXT["context_length"]))
        for row, length in enumerate([16, 9, 3, 2]):
            tokens[row, length - 1] = TEXT["vocab_size"] - 1
            tokens[row, length:] = 0
        with torch.no_grad():
            image, text = model.encode_image(images), model.encode_text(tokens)
            outputs = model.get_logits(images, tokens)[0]
        folder = out / name
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps(config))
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        save_file({"images": images, "tokens": tokens}, folder / "inputs.safetensors")
        save_file({"image_features": image, "text_features": text, "logits": outputs}, folder / "outputs.safetensors")


def randomize(model: torch.nn.Module) -> None:
    """Nothing stays at 0 or 1, where a mistake would not show."""
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point() and value.ndim == 1 and value.numel() > 1:
                value.add_(0.2 * torch.randn_like(value))
            elif value.is_floating_point() and "attn_mask" not in name and value.ndim > 1:
                value.add_(0.05 * value.std() * torch.randn_like(value))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
