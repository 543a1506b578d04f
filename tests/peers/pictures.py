"""Pictures of one, two or three coloured shapes with captions: OUT/NN.png and OUT/captions.csv.

Captions begin with a number, so that they stay distinct when they are cut to the length of a model: equal ones would be
ranked equal, and then recall depends on who comes first.
"""

import csv
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = ["red", "green", "blue", "yellow", "purple", "orange", "black", "white"]
# Higher than wide, wider than high, smaller and larger than what the model sees; odd and even.
SIZES = [(32, 32), (47, 33), (33, 64), (120, 90), (21, 20), (200, 199)]


def main(out: Path) -> None:
    draw_from = random.Random(7)
    out.mkdir(parents=True)
    rows = []
    for number in range(24):
        width, height = SIZES[number % len(SIZES)]
        picture = Image.new("RGB", (width, height), draw_from.choice(["grey", "beige", "navy"]))
        draw, said = ImageDraw.Draw(picture), []
        for _ in range(1 + number % 3):
            colour, shape = draw_from.choice(COLOURS), draw_from.choice(["circle", "square"])
            x, y = draw_from.uniform(0, width * 0.6), draw_from.uniform(0, height * 0.6)
            box = [x, y, x + width * 0.4, y + height * 0.4]
            (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=colour)
            said.append(f"a {colour} {shape}")
        picture.save(out / f"{number:02}.png")
        rows.append((f"{number:02}.png", f"{number} " + " and ".join(said)))
    with open(out / "captions.csv", "w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
