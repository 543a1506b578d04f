"""The command line, and its mistakes."""

import argparse
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import peaks

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("parity", "largest", "turns")


@dataclass(frozen=True)
class Build:
    """A set of features: the command and, if it has to pass, the parity suite as a program or as arguments of `cargo test`."""

    name: str
    binary: Path
    parity: Path | None
    cargo: tuple | None


def existing(text: str, what: str) -> Path:
    path = Path(text).resolve()
    if not path.is_file():
        raise ValueError(f"{what} {text}: there is no such file")
    return path


def builds(options) -> list:
    """The builds that `--build` and `--cargo-test` name."""
    cargo = {}
    for text in options.cargo_test:
        name, _, arguments = text.partition("=")
        cargo[name] = tuple(shlex.split(arguments))
    found = []
    for text in options.build:
        name, _, paths = text.partition("=")
        binary, _, parity = paths.partition(",")
        if not re.fullmatch(r"[\w.-]+", name) or not binary:
            raise ValueError(f"--build {text}: expected NAME=path/to/twinflame or NAME=path/to/twinflame,path/to/parity-test")
        if any(build.name == name for build in found):
            raise ValueError(f"--build {text}: there are two builds of the name {name}")
        if parity and name in cargo:
            raise ValueError(f"--build {text}: --cargo-test says another way to run the parity suite of {name}")
        suite = existing(parity, f"--build {name}: parity test") if parity else None
        found.append(Build(name, existing(binary, f"--build {name}: binary"), suite, cargo.pop(name, None)))
    if cargo:
        raise ValueError(f"--cargo-test {next(iter(cargo))}=…: no --build has that name")
    return found


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="measure.py", formatter_class=argparse.RawDescriptionHelpFormatter, description=sys.modules["__main__"].__doc__)
    add = parser.add_argument
    add("--build", action="append", required=True, metavar="NAME=TWINFLAME[,PARITY]",
        help="a binary and the parity suite of the same features; the first is measured in full, for more the parity suite comes first")
    add("--cargo-test", action="append", default=[], metavar="NAME=ARGUMENTS",
        help="build and run a build's parity suite with these arguments of cargo test, such as 'fused=--release --features cuda'")
    add("--devices", nargs="+", default=["cuda", "vulkan"], metavar="DEVICE", help="as of twinflame --device (default: cuda vulkan)")
    add("--models", nargs="+", default=["vit-b-32", "vit-b-16", "albef-base"], metavar="PRESET|FILE")
    add("--precisions", nargs="+", default=["bf16", "f32"], choices=("bf16", "f32"), help="in order of importance (default: bf16 f32)")
    add("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="what to measure (default: all)")
    add("--python", metavar="PYTHON", help="a Python with PyTorch and open_clip, measured beside; without it Twinflame is alone")
    add("--albef", type=Path, metavar="PATH", help="a clone of https://github.com/salesforce/ALBEF, measured beside models named albef…")
    add("--albef-python", metavar="PYTHON", help="a Python with what requirements-albef.txt lists (default: that of --python)")
    add("--peer-device", choices=("cuda", "cpu"), default="cuda", help="where PyTorch computes (default: cuda)")
    add("--first-batch", type=int, default=128, metavar="N", help="size that the search of the largest batch begins with (default: 128)")
    add("--most-batch", type=int, default=32768, metavar="N", help="size that it ends with (default: 32768)")
    add("--resolution", type=float, default=0.125, metavar="SHARE",
        help="it ends when a batch that fits and one that does not are as close as that (default: 0.125)")
    add("--steps", type=int, default=10, metavar="N", help="steps of a measurement (default: 10)")
    add("--rounds", type=int, default=2, metavar="N", help="turns of each side (default: 2)")
    add("--budget", type=float, metavar="SECONDS", help="time for all of it; what does not fit stays open for --resume")
    add("--limit", type=float, default=420.0, metavar="SECONDS", help="time for one process (default: 420)")
    add("--peak-tflops", metavar="f32=N,tf32=N,bf16=N", help="what the card computes at most, where peaks.py does not know it")
    add("--card", metavar="NAME", help="the card's name, where nvidia-smi does not tell")
    add("--note", action="append", default=[], metavar="TEXT", help="a line for the result, such as where and how the builds were made")
    add("--out", type=Path, default=ROOT / "benches" / "results", metavar="FOLDER", help="(default: benches/results)")
    add("--resume", type=Path, metavar="JSON", help="go on with the record of an earlier call")
    add("--retry-failed", action="store_true", help="with --resume: do again what failed")
    add("--dry-run", action="store_true", help="print what would be done and about how long it takes")
    return parser


def checked(arguments=None):
    """The options, their mistakes reported. `builds` holds the parsed builds and `peaks` those of `--peak-tflops`."""
    command = parser()
    options = command.parse_args(arguments)
    try:
        options.builds = builds(options)
        options.peaks = peaks.parse(options.peak_tflops) if options.peak_tflops else None
    except ValueError as error:
        command.error(str(error))
    for flag in ("first_batch", "most_batch", "steps", "rounds", "resolution", "limit", "budget"):
        value, least = getattr(options, flag), 2 if flag.endswith("batch") else 0
        if value is not None and (value < least or value == 0):
            command.error(f"--{flag.replace('_', '-')} {value}: expected {'2 or more' if least else 'more than 0'}")
    if options.first_batch > options.most_batch:
        command.error(f"--first-batch {options.first_batch}: more than --most-batch {options.most_batch}")
    if options.albef and not (options.albef / "models" / "model_pretrain.py").is_file():
        command.error(f"--albef {options.albef}: no clone of https://github.com/salesforce/ALBEF, there is no models/model_pretrain.py")
    if options.retry_failed and not options.resume:
        command.error("--retry-failed: it goes with --resume")
    options.albef_python = (options.albef_python or options.python) if options.albef else None
    if options.albef and not options.albef_python:
        command.error("--albef: say with --albef-python which Python runs it")
    for model in options.models:
        if model.endswith(".json") and not (ROOT / model).is_file():
            command.error(f"--models {model}: there is no such file below {ROOT}")
    return options
