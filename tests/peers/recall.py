"""Recall of an exported model in open_clip.

FOLDER has open_clip/, an export, and sets/NAME/ with N.png and set.json: captions, and for each image the rows of those that
describe it. Prints a JSON object: for each set, recall at 1, 5 and 10 both ways.
"""

import json
import sys
from pathlib import Path

import open_clip
import torch
from PIL import Image

KS = [1, 5, 10]
BATCH = 256


def main(folder: Path) -> None:
    name = f"local-dir:{folder}/open_clip"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    tokenize = open_clip.get_tokenizer(name)
    model.eval()
    result = {}
    for path in sorted((folder / "sets").iterdir()):
        described = json.loads((path / "set.json").read_text())
        of_image = described["captions_of_image"]
        with torch.no_grad():
            images = torch.cat(
                [
                    model.encode_image(torch.stack([preprocess(Image.open(path / f"{i}.png")) for i in part]), True)
                    for part in torch.arange(len(of_image)).split(BATCH)
                ]
            )
            texts = torch.cat(
                [
                    model.encode_text(tokenize(described["captions"][start : start + BATCH]), True)
                    for start in range(0, len(described["captions"]), BATCH)
                ]
            )
        scores = images.double() @ texts.double().T
        is_right = torch.zeros_like(scores, dtype=torch.bool)
        for image, rows in enumerate(of_image):
            is_right[image, rows] = True
        result[path.name] = {
            "image_to_text": recall(scores, is_right),
            "text_to_image": recall(scores.T, is_right.T),
        }
    print(json.dumps(result))


def recall(scores: torch.Tensor, is_right: torch.Tensor) -> list:
    """A query is found as soon as any of its right answers is; of equal scores the first row comes first."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    found = is_right.gather(1, order)[is_right.any(dim=1)]
    rank = found.int().argmax(dim=1)
    return [int((rank < k).sum()) / len(rank) for k in KS]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
