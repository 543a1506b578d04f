"""Small files of every kind that twinflame reads tensors from, all with the tensors of expected.safetensors.

Made with torch 2.15 by `python ../../parity/reference/archives.py` in tests/fixtures/archives.
"""

import argparse

import torch
from safetensors.torch import save_file

torch.manual_seed(0)
base = torch.randn(6, 8)
tensors = {
    "visual.weight": torch.randn(3, 4),
    "visual.narrow": torch.randn(5).half(),
    "visual.brain": torch.randn(2, 2).bfloat16(),
    "visual.wide": torch.randn(3).double(),
    "view.transposed": base.t(),
    "view.columns": base[1:5, 2:7:2],
    "view.row": base[3],
    "tied.again": base,
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "ids": torch.arange(7).expand((1, -1)),
    "count": torch.tensor(3, dtype=torch.int32),
    "small": torch.tensor([-1, 2], dtype=torch.int8),
    "flags": torch.tensor([True, False]),
}
expected = {
    name: (value.float() if value.is_floating_point() else value.long()).contiguous().clone()
    for name, value in tensors.items()
}
save_file(expected, "expected.safetensors")
save_file({name: value.contiguous().clone() for name, value in tensors.items()}, "types.safetensors")

checkpoint = {
    "epoch": 3,
    "lr": 1e-3,
    "args": argparse.Namespace(name="x", sizes=[1, 2], big=2**70),
    "state_dict": {f"module.{name}": value for name, value in tensors.items()},
    "optimizer": {"state": {0: {"exp_avg": base}}, "param_groups": [{"lr": 0.1}]},
}
torch.save(tensors, "plain.pt")
torch.save(checkpoint, "checkpoint.pt")
torch.save(checkpoint, "checkpoint_protocol4.pt", pickle_protocol=4)
torch.save({"model": tensors}, "legacy.pth", _use_new_zipfile_serialization=False)


class Node(torch.nn.Module):
    """A module with a tensor, or another module, for each part of a name."""

    def forward(self, x):
        return x


def put(node, path, value):
    first, *rest = path.split(".", 1)
    if not rest:
        if value.is_floating_point():
            node.register_parameter(first, torch.nn.Parameter(value, requires_grad=False))
        else:
            node.register_buffer(first, value)
        return
    if first not in node._modules:
        node.add_module(first, Node())
    put(node._modules[first], rest[0], value)


module = Node()
for name, value in tensors.items():
    put(module, name, value)
torch.jit.save(torch.jit.script(module), "script.pt")
