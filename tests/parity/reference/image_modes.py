"""Writes tests/fixtures/image_modes: one small file for each kind of image that a folder may hold, and what open_clip's
evaluation transform makes of it at 16 pixels.

Run with open_clip_torch 3.3.0 and Pillow 13.0.0:  python tests/parity/reference/image_modes.py
"""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
from open_clip.transform import image_transform
from PIL import Image
from safetensors.numpy import save_file

OUT = Path(__file__).parents[2] / "fixtures" / "image_modes"
WIDTH, HEIGHT, SIZE = 26, 20, 16


def picture(channels):
    """A gradient with a disc in it."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    disc = (x - 12) ** 2 + (y - 9) ** 2 < 40
    planes = [(x * 9 + c * 40 + y * (3 + 2 * c)) % 256 for c in range(channels)]
    image = np.stack(planes, -1)
    image[disc] = [240, 30, 90, 200][:channels]
    return image.astype(np.uint8)


def png(name, color_type, depth, rows, extra=b""):
    """A PNG of bit depths and chunks that Pillow does not write; `rows` are packed samples."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color_type, 0, 0, 0)
    data = b"".join(b"\0" + bytes(row) for row in rows)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    (OUT / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return chunk


def packed(samples, bits):
    """Rows of samples of fewer than 8 bits."""
    rows = []
    for row in samples:
        text = "".join(format(int(v), f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        rows.append(bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8)))
    return rows


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write():
    OUT.mkdir(exist_ok=True)
    rgb, rgba, grey = picture(3), picture(4), picture(1)[..., 0]
    low = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 37 % 256
    wide = lambda a: (a.astype(np.uint16) << 8) | low.reshape(HEIGHT, WIDTH, *[1] * (a.ndim - 2)).astype(np.uint16)

    big = lambda a: [row.astype(">u2").tobytes() for row in wide(a).reshape(HEIGHT, -1)]
    png("rgb16.png", 2, 16, big(rgb))
    png("rgba16.png", 6, 16, big(rgba))
    png("la16.png", 4, 16, big(rgba[..., 2:]))
    png("grey1.png", 0, 1, packed(grey > 120, 1))
    png("grey2.png", 0, 2, packed(grey >> 6, 2))
    png("grey4.png", 0, 4, packed(grey >> 4, 4))
    png("grey8_trns.png", 0, 8, grey, chunk(b"tRNS", struct.pack(">H", 240)))
    png("rgb8_trns.png", 2, 8, rgb.reshape(HEIGHT, -1), chunk(b"tRNS", struct.pack(">HHH", 240, 30, 90)))
    palette = bytes((i * 53 + c * 91) % 256 for i in range(16) for c in range(3))
    png("palette4.png", 3, 4, packed(grey >> 4, 4), chunk(b"PLTE", palette))
    alphas = bytes(i * 17 for i in range(16))
    png("palette4_trns.png", 3, 4, packed(grey >> 4, 4), chunk(b"PLTE", palette) + chunk(b"tRNS", alphas))

    image = Image.fromarray(rgb)
    smooth = Image.fromarray(rgb).resize((52, 40), Image.BICUBIC)
    smooth.save(OUT / "progressive.jpg", quality=92, progressive=True)
    exif = Image.Exif()
    exif[0x112] = 6
    smooth.save(OUT / "exif_rotated.jpg", quality=92, exif=exif)
    smooth.convert("CMYK").save(OUT / "cmyk.jpg", quality=92)
    ycck = bytearray((OUT / "cmyk.jpg").read_bytes())
    adobe = ycck.index(b"Adobe")
    assert ycck[adobe + 11] == 0
    ycck[adobe + 11] = 2  # the same samples, declared to be YCCK
    (OUT / "ycck.jpg").write_bytes(ycck)

    image.quantize(16).save(OUT / "palette.gif")
    Image.fromarray(grey).save(OUT / "grey.gif")
    clear = image.quantize(16)
    clear.save(OUT / "transparent.gif", transparency=3)
    frames = [image.quantize(8), image.rotate(90).quantize(8)]
    frames[0].save(OUT / "animated.gif", save_all=True, append_images=frames[1:])
    image.save(OUT / "rgb.bmp")
    image.quantize(16).save(OUT / "palette.bmp")
    Image.fromarray(grey).save(OUT / "grey.bmp")
    Image.fromarray(grey > 120).save(OUT / "bilevel.bmp")
    Image.fromarray(rgba).save(OUT / "rgba.bmp")
    smooth.save(OUT / "lossy.webp", quality=92)
    image.save(OUT / "lossless.webp", lossless=True)
    Image.fromarray(rgba).save(OUT / "alpha.webp", lossless=True, exact=True)
    image.save(OUT / "animated.webp", save_all=True, append_images=[image.rotate(180)], lossless=True)


def main():
    write()
    transform = image_transform(SIZE, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    modes, pixels = {}, {}
    for path in sorted(OUT.iterdir()):
        if path.suffix in (".json", ".safetensors"):
            continue
        image = Image.open(path)
        modes[path.name] = image.mode
        tensor = transform(image).numpy()
        pixels[path.name] = np.round(tensor * 255).astype(np.uint8)  # [3, 16, 16]
    (OUT / "modes.json").write_text(json.dumps(modes, indent=1) + "\n")
    save_file(pixels, str(OUT / "outputs.safetensors"))


if __name__ == "__main__":
    main()
