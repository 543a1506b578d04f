"""What open_clip and transformers compute with models that Twinflame exported, beside what Twinflame computes.

FOLDER has open_clip/ and hf/ (two exports of one model), pictures/, and ours.safetensors with `pixels`, `tokens`,
`images` and `texts` (features of length 1) of the pictures and captions in the order of captions.csv. Prints a JSON object
with differences, and recall@k of open_clip's features.
"""

import csv
import json
import sys
from pathlib import Path

import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

KS = [1, 5, 10]


def main(folder: Path) -> None:
    with open(folder / "pictures/captions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pictures = [Image.open(folder / "pictures" / row["image"]) for row in rows]
    captions = [row["caption"] for row in rows]
    ours = load_file(folder / "ours.safetensors")
    peers = {"open_clip": run_open_clip, "transformers": run_transformers}
    result = {}
    with torch.no_grad():
        for name, run in peers.items():
            theirs = run(str(folder), pictures, captions)
            result[name] = compare(ours, theirs)
    print(json.dumps(result))


def run_open_clip(folder: str, pictures: list, captions: list) -> dict:
    name = f"local-dir:{folder}/open_clip"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    pixels = torch.stack([preprocess(picture) for picture in pictures])
    tokens = zeros_after_end(open_clip.get_tokenizer(name)(captions))
    images, texts = model.encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)
    return {"pixels": pixels, "tokens": tokens, "images": images, "texts": texts}


def run_transformers(folder: str, pictures: list, captions: list) -> dict:
    model = CLIPModel.from_pretrained(f"{folder}/hf").eval()
    processor = CLIPProcessor.from_pretrained(f"{folder}/hf")
    texts = processor(text=captions, return_tensors="pt", padding="max_length", truncation=True)
    # The default one resizes with torchvision, not as Pillow does.
    pil = CLIPImageProcessorPil.from_pretrained(f"{folder}/hf")
    pixels = pil(pictures, return_tensors="pt")["pixel_values"]
    default = processor(images=pictures, return_tensors="pt")["pixel_values"]
    out = model(input_ids=texts["input_ids"], attention_mask=texts["attention_mask"], pixel_values=pixels)
    return {
        "pixels": pixels,
        "default_pixels": default,
        "tokens": zeros_after_end(texts["input_ids"]),
        "images": out.image_embeds,
        "texts": out.text_embeds,
    }


def zeros_after_end(ids: torch.Tensor) -> torch.Tensor:
    """Twinflame fills a row with 0, transformers with the end of text, which is the largest id."""
    end = ids.argmax(dim=1, keepdim=True)
    return ids.where(torch.arange(ids.shape[1])[None] <= end, 0)


def compare(ours: dict, theirs: dict) -> dict:
    scores = {"ours": ours["images"] @ ours["texts"].T, "theirs": theirs["images"] @ theirs["texts"].T}
    orders = {who: matrix.argsort(dim=1, descending=True, stable=True) for who, matrix in scores.items()}
    result = {
        "pixels": largest(ours["pixels"], theirs["pixels"]),
        "different_ids": int((ours["tokens"] != theirs["tokens"]).sum()),
        "images": relative(ours["images"], theirs["images"]),
        "texts": relative(ours["texts"], theirs["texts"]),
        "rankings_equal": bool((orders["ours"] == orders["theirs"]).all()),
        "recall": {"image_to_text": recall(scores["theirs"]), "text_to_image": recall(scores["theirs"].T)},
    }
    if "default_pixels" in theirs:
        result["default_pixels"] = largest(ours["pixels"], theirs["default_pixels"])
    return result


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).abs().max())


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return largest(a, b) / float(b.abs().max())


def recall(scores: torch.Tensor) -> list:
    """Row i belongs to column i."""
    own = scores.diagonal()[:, None]
    rank = (scores > own).sum(dim=1)
    return [float((rank < k).double().mean()) for k in KS]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
