#!/usr/bin/env python3
"""Measures what open_clip's webdataset pipeline takes to make training batches of tar shards: CPU seconds per 1,000 images.

    pip install -r requirements-loader.txt
    OMP_WAIT_POLICY=PASSIVE python bench_loader.py 'shards-512/{00000..00007}.tar' --samples 2000 --workers 2

The pipeline is open_clip_train.data.get_wds_dataset with open_clip's training transform (RandomResizedCrop of 0.9 to 1 of the area,
bicubic, ToTensor, Normalize) and its tokenizer: shards to float batches in the process that would train. CPU time is user plus
system time of this process and its workers, read from /proc before and after an epoch. The first epoch warms up and is not
counted, nor are imports and the start of the workers, which stay from epoch to epoch.

Every worker has its own shards and decodes in one thread, as PyTorch sets it. Prints one JSON object.
"""

import argparse
import json
import os
import sys
import time
from types import SimpleNamespace


def cpu_seconds() -> float:
    """User and system time so far of this process and its children that run."""
    tick = os.sysconf("SC_CLK_TCK")
    total = 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has ended
        if int(entry) == os.getpid() or int(fields[1]) == os.getpid():
            total += int(fields[11]) + int(fields[12])
    return total / tick


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", help="path of the shards, with brace lists")
    parser.add_argument("--samples", type=int, required=True, help="samples in all shards")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2, help="epochs to measure, after one that warms up")
    parser.add_argument("--image-size", type=int, default=224)
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import open_clip
    import PIL
    import torch
    import webdataset
    from open_clip.transform import image_transform
    from open_clip_train.data import get_wds_dataset

    torch.set_num_threads(1)
    args = SimpleNamespace(
        train_data=options.shards,
        train_num_samples=options.samples,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        batch_size=options.batch_size,
        workers=options.workers,
        world_size=1,
        seed=0,
    )
    transform = image_transform(options.image_size, is_train=True)
    data = get_wds_dataset(args, transform, is_train=True, floor=True, tokenizer=open_clip.get_tokenizer("ViT-B-32"))
    cpu, wall = [], []
    for epoch in range(options.epochs + 1):
        data.set_epoch(epoch)
        images, start, wall_start = 0, cpu_seconds(), time.perf_counter()
        for pixels, tokens in data.dataloader:
            images += len(pixels)
        if epoch > 0:
            cpu.append(round((cpu_seconds() - start) * 1000 / images, 3))
            wall.append(round((time.perf_counter() - wall_start) * 1000 / images, 3))
    result = {
        "images": images,
        "workers": options.workers,
        "cpu_s_per_1000": cpu,
        "wall_s_per_1000": wall,
        "batch": [list(pixels.shape), str(pixels.dtype), list(tokens.shape), str(tokens.dtype)],
        "versions": {
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "open_clip": open_clip.__version__,
            "pillow": PIL.__version__,
            "webdataset": webdataset.__version__,
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
