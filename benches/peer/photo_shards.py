#!/usr/bin/env python3
"""Writes tar shards of pictures that cost a JPEG decoder what photographs cost it, with captions.

    pip install -r requirements-loader.txt
    python photo_shards.py shards-512 --size 512

A picture is a "dead leaves" image (Lee, Mumford and Huang 2001): discs that hide each other, with radii by a power law, so that
it has the edges and the 1/f spectrum of photographs. Every disc has a colour, a gradient and grain of its own, over all lies the noise of
a sensor. Quality 90, 4:2:0, Huffman tables as the encoder makes them by default. 512 x 512 pixels come to about 70 kB; photographs
(scikit-image's astronaut, coffee, chelsea and motorcycle, cut to 512 x 512) to 54 to 79 kB.

Captions are 6 to 20 English words, one to a sample, in `.txt` members. The same seed writes the same shards.
"""

import argparse
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

WORDS = """a an the of in on with and beside under behind two three small large old new red blue green yellow white black
dog cat horse bird child woman man house street river mountain tree flower table chair boat train car bicycle window door
photo picture view portrait sunset morning evening market beach garden kitchen standing sitting running looking holding""".split()


def pink_noise(rng, size, exponent):
    """Noise of standard deviation 1 whose amplitude falls with frequency as `f ** -exponent`."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32)) * frequency**-exponent
    noise = np.fft.irfft2(spectrum, (size, size)).astype(np.float32)
    return noise / noise.std()


def photo(rng, size):
    """Red, green and blue bytes, `[size, size, 3]`."""
    grain, slope = pink_noise(rng, size, 0.9), pink_noise(rng, size, 1.6)
    image = np.broadcast_to(rng.uniform(60, 200, 3).astype(np.float32), (size, size, 3)).copy()
    # radii from 1/85 to 1/3 of the edge, their number falling with the cube of the radius
    least, most = size / 85, size / 3
    radii = 1 / np.sqrt(rng.uniform(most**-2, least**-2, 800))
    for radius in radii:
        x, y = rng.uniform(-radius, size + radius, 2)
        left, top = max(int(x - radius), 0), max(int(y - radius), 0)
        right, bottom = min(int(x + radius) + 1, size), min(int(y + radius) + 1, size)
        if left >= right or top >= bottom:
            continue
        rows, columns = np.arange(top, bottom)[:, None] - y, np.arange(left, right)[None] - x
        # an edge one and a half pixels wide, as a lens draws it
        cover = np.clip((radius - np.hypot(rows, columns)) / 1.5 + 0.5, 0, 1)[..., None]
        grey, tint = rng.uniform(20, 235), rng.normal(0, 18, 3)
        texture = rng.exponential(2.4) * grain[top:bottom, left:right] + rng.normal(0, 10) * slope[top:bottom, left:right]
        leaf = (grey + tint).astype(np.float32) + texture[..., None]
        part = image[top:bottom, left:right]
        part += cover * (leaf - part)
    image += rng.standard_normal((size, size, 1), dtype=np.float32) * 1.2
    return np.clip(image, 0, 255).astype(np.uint8)


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for the shards")
    parser.add_argument("--size", type=int, default=512, help="edge of the pictures, in pixels")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    options.output.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(options.seed)
    total = 0
    for shard in range(options.shards):
        with tarfile.open(options.output / f"{shard:05}.tar", "w") as tar:
            for index in range(shard, options.images, options.shards):
                encoded = io.BytesIO()
                Image.fromarray(photo(rng, options.size)).save(encoded, "jpeg", quality=90, subsampling="4:2:0")
                caption = " ".join(rng.choice(WORDS, rng.integers(6, 21)))
                add(tar, f"{index:09}.jpg", encoded.getvalue())
                add(tar, f"{index:09}.txt", caption.encode())
                total += len(encoded.getvalue())
    print(f"{options.images} pictures, {total / options.images / 1000:.1f} kB each: {options.output}")


if __name__ == "__main__":
    main()
