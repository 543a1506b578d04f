"""What cards compute at most, by the data sheets of their vendor: TFLOP/s without sparsity, products of bf16 summed in f32.

A vendor's largest number counts zeros that sparse matrices leave out; here it is halved where a sheet has only that one.
"""

PRECISIONS = ("f32", "tf32", "bf16")

# Part of the name that the driver gives, longer ones first: f32 outside the matrix units, TF32, bf16, source.
CARDS = (
    ("B200", 75, 1125, 2250, "NVIDIA HGX B200 data sheet, an eighth of eight cards, halved for sparsity"),
    ("H200 NVL", 60, 417.5, 835.5, "NVIDIA H200 data sheet, H200 NVL, halved for sparsity"),
    ("H200", 67, 494.5, 989.5, "NVIDIA H200 data sheet, H200 SXM, halved for sparsity"),
    ("H100 NVL", 60, 417.5, 835.5, "NVIDIA H100 data sheet, H100 NVL, halved for sparsity"),
    ("H100 PCIe", 51, 378, 756, "NVIDIA H100 data sheet, H100 PCIe, halved for sparsity"),
    ("H100", 67, 494.5, 989.5, "NVIDIA H100 data sheet, H100 SXM, halved for sparsity"),
    ("A100", 19.5, 156, 312, "NVIDIA A100 data sheet"),
    ("A40", 37.4, 74.8, 149.7, "NVIDIA A40 data sheet"),
    ("A10", 31.2, 62.5, 125, "NVIDIA A10 data sheet"),
    ("L40S", 91.6, 183, 362, "NVIDIA L40S data sheet"),
    ("L40", 90.5, 90.5, 181, "NVIDIA L40 data sheet"),
    ("L4", 30.3, 60, 121, "NVIDIA L4 data sheet, halved for sparsity"),
    ("RTX 5090", 104.8, 104.8, 209.5, "NVIDIA RTX Blackwell architecture, appendix A"),
    ("RTX 4090", 82.6, 82.6, 165.2, "NVIDIA Ada GPU architecture, appendix A"),
    ("RTX 3090", 35.6, 35.6, 71, "NVIDIA Ampere GA102 GPU architecture, table of the RTX 3090"),
)


def of_card(name: str):
    """`{"f32": …, "tf32": …, "bf16": …, "source": …}` of a card, or `None` of one that is not in the table."""
    words = name.replace("-", " ").split()
    for known, f32, tf32, bf16, source in CARDS:
        wanted = known.split()
        # Whole words, so that an A1000 is no A100; what follows the model's name narrows it, as in "RTX 4090 Laptop GPU".
        if any(words[at : at + len(wanted)] == wanted for at in range(len(words))) and not {"Laptop", "Ti", "D"} & set(words):
            return {"f32": f32, "tf32": tf32, "bf16": bf16, "source": source}
    return None


def parse(text: str) -> dict:
    """`f32=67,bf16=989` as given on the command line. Raises `ValueError`, which says what would be right."""
    peaks = {}
    for item in text.split(","):
        precision, _, value = item.partition("=")
        if precision not in PRECISIONS or not value.replace(".", "", 1).isdigit() or float(value) <= 0:
            raise ValueError(f"{item!r}: expected a precision of {', '.join(PRECISIONS)} and TFLOP/s, such as bf16=989")
        peaks[precision] = float(value)
    return {**dict.fromkeys(PRECISIONS), **peaks, "source": "--peak-tflops"}
