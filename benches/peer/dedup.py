"""Pictures with planted copies for `twinflame data dedup`, what it should have found, and the same hash in Python beside it.

    pip install pillow numpy imagehash
    twinflame data shard emoji.toml -o emoji                # kind = "emoji"
    python dedup.py make pictures --emoji emoji/00000.tar
    twinflame data dedup pictures -o pictures/kept.csv --groups groups.jsonl
    python dedup.py check pictures groups.jsonl
    python dedup.py peer pictures                           # decode, grey, pHash: CPU seconds

Half of the originals are noise of several octaves with some shapes in it, the others emoji enlarged on a plain ground.
"""

import argparse
import collections
import csv
import hashlib
import io
import json
import pathlib
import random
import resource
import tarfile
import time

import numpy as np
from PIL import Image, ImageDraw

SIDE = 256
COPIES = {
    "same file": 1500,
    "JPEG, quality 30 to 90": 1500,
    "a quarter to 0.9 of the size": 1500,
    "both": 1000,
    "brighter by 2 %": 250,
    "2 % cut off each side": 250,
}


def noise(rng):
    total = np.zeros((SIDE, SIDE, 3))
    for octave in range(1, 6):
        cells = rng.normal(size=(2**octave + 1, 2**octave + 1, 3)) * 0.6**octave
        planes = [Image.fromarray(cells[..., c].astype(np.float32)).resize((SIDE, SIDE), Image.BICUBIC) for c in range(3)]
        total += np.stack([np.asarray(plane) for plane in planes], axis=-1)
    image = Image.fromarray(np.clip(128 + 90 * total, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 4)):
        x, y, w, h = rng.integers(0, 200), rng.integers(0, 200), rng.integers(20, 120), rng.integers(20, 120)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape([x, y, x + w, y + h], fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return image


def emoji_on(rng, picture):
    ground = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    side = int(rng.integers(190, 257))
    at = tuple(int(v) for v in rng.integers(0, SIDE - side + 1, 2))
    ground.paste(picture.convert("RGB").resize((side, side), Image.BICUBIC), at)
    return ground


def copy(how, image, original, rnd):
    if how == "same file":
        return original
    quality = 90
    if how in ("JPEG, quality 30 to 90", "both"):
        quality = rnd.randint(30, 90)
    if how in ("a quarter to 0.9 of the size", "both"):
        side = int(SIDE * rnd.uniform(0.25, 0.9))
        image = image.resize((side, side), rnd.choice([Image.BICUBIC, Image.LANCZOS, Image.BILINEAR]))
    if how == "brighter by 2 %":
        image = image.point(lambda value: min(255, value + 5))
    if how == "2 % cut off each side":
        image = image.crop((5, 5, SIDE - 5, SIDE - 5))
    return encoded(image, quality)


def encoded(image, quality):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def make(args):
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng, rnd = np.random.default_rng(0), random.Random(0)
    with tarfile.open(args.emoji) as tar:
        pictures = [Image.open(io.BytesIO(tar.extractfile(m).read())) for m in tar.getmembers() if m.name.endswith(".png")]
    rnd.shuffle(pictures)
    kinds = ["noise"] * (args.originals // 2) + ["emoji"] * (args.originals - args.originals // 2)
    rows = []
    for number, kind in enumerate(kinds):
        image = noise(rng) if kind == "noise" else emoji_on(rng, pictures[number % len(pictures)])
        rows.append((number, kind, "", encoded(image, 90)))
    for how, count in COPIES.items():
        for original in rnd.sample(range(args.originals), count):
            _, kind, _, file = rows[original]
            rows.append((original, kind, how, copy(how, Image.open(io.BytesIO(file)), file, rnd)))
    rnd.shuffle(rows)
    with open(folder / "captions.csv", "w", newline="") as table:
        out = csv.writer(table)
        out.writerow(["image", "caption", "original", "kind", "how"])
        for at, (original, kind, how, file) in enumerate(rows):
            (folder / f"{at:05}.jpg").write_bytes(file)
            out.writerow([f"{at:05}.jpg", f"picture {original}", original, kind, how])
    print(f"{len(rows)} pictures, {sum(len(row[3]) for row in rows) / 2**20:.0f} MiB")


def check(args):
    with open(pathlib.Path(args.folder) / "captions.csv", newline="") as table:
        rows = {row["image"]: row for row in csv.DictReader(table)}
    group = {}
    with open(args.groups) as lines:
        for line in lines:
            line = json.loads(line)
            group[line["image"]] = line["group"]
    source = {row["original"]: image for image, row in rows.items() if not row["how"]}
    planted, found = collections.Counter(), collections.Counter()
    members = collections.defaultdict(set)
    for image, row in rows.items():
        if row["how"]:
            key = (row["how"], row["kind"])
            planted[key] += 1
            found[key] += image in group and group[image] == group.get(source[row["original"]])
        if image in group:
            members[group[image]].add((row["kind"], row["original"]))
    for key in planted:
        print(f"{key[0]:32} {key[1]:6} {found[key]:5} of {planted[key]:5} with their original")
    for kind in ("noise", "emoji"):
        wrong = [len(m) - 1 for m in members.values() if len(m) > 1 and all(k == kind for k, _ in m)]
        print(f"{kind}: originals joined with another one: {sum(wrong)}, largest group of them {max(wrong, default=-1) + 1}")
    print("groups of both kinds:", sum(len({k for k, _ in m}) > 1 for m in members.values()))


def peer(args):
    import imagehash

    begin, hashes = time.process_time(), collections.defaultdict(list)
    for path in sorted(pathlib.Path(args.folder).glob("*.jpg")):
        bytes_of = path.read_bytes()
        content = hashlib.sha256(bytes_of).digest()
        hashes[int(str(imagehash.phash(Image.open(io.BytesIO(bytes_of)))), 16)].append(content)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(hashes)} different hashes; {time.process_time() - begin:.1f} CPU s, {peak:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for verb in (make, check, peer):
        sub = verbs.add_parser(verb.__name__)
        sub.add_argument("folder")
        sub.set_defaults(run=verb)
        if verb is make:
            sub.add_argument("--emoji", required=True)
            sub.add_argument("--originals", type=int, default=14_000)
        if verb is check:
            sub.add_argument("groups")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
