#!/usr/bin/env python3
"""All measurements on a GPU: the parity suite; the largest batch of each model, with samples/s and share of the card's peak; and
PyTorch's open_clip and ALBEF beside it, in turns.

    python3 benches/gpu/measure.py --build fused=target/release/twinflame,target/release/deps/parity-… --python python3 --dry-run
    python3 benches/gpu/measure.py --build … --python python3 --budget 580
    python3 benches/gpu/measure.py --build … --python python3 --budget 580 --resume benches/results/DATE-gpu-CARD.json

Parts run in order of importance, each program in a process of its own. After every process the record is written: a JSON of raw figures and, beside
it, DATE-gpu-CARD.md for a reader. What fails is a line there, with its last lines, and the rest goes on. What the budget does not reach
stays open, and --resume goes on with it. CONTRIBUTING.md says how builds are made and carried to a machine that cannot build.
"""

import datetime
import re
import shlex
import signal
import sys
import traceback
from pathlib import Path

import largest
import machine
import options as command_line
import parity
import peaks
import plan
import report
import turns
from options import ROOT
from process import Budget, OutOfTime, run
from record import Record, RecordError, write

MEASURES = {"parity": parity.measure, "largest": largest.measure, "turns": turns.measure}


class Session:
    """One call of this program."""

    def __init__(self, options, budget: Budget, record: Record, path: Path, card_bytes):
        self.options, self.budget, self.record, self.path, self.card_bytes = options, budget, record, path, card_bytes

    def run(self, part, kind: str, command, environment=None, **facts) -> dict:
        """Runs a program in the repository's root and notes it. Raises `OutOfTime` if the budget does not reach."""
        environment = environment or {}
        # Of a kind that has not run yet nobody knows what it takes: it may try.
        self.budget.reserve(self.record.usual_seconds(kind, part.identifier, 10.0))
        detail = " ".join(str(value) for value in facts.values())
        print(f"[{self.budget.spent():.0f} s] {part.identifier}: {kind} {detail}", file=sys.stderr, flush=True)
        result = run(command, self.budget, environment, ROOT)
        self.record.note(part.identifier, kind, command, environment, result, **facts)
        self.save()
        if result["outcome"] != "ok":
            print(f"    {result['outcome']}: {(result['last_lines'] or [''])[-1]}", file=sys.stderr, flush=True)
        return result

    def fail(self, part, what: str, result: dict):
        figures = self.record.part(part.identifier)
        figures.update(state="failed", last_lines=[f"{what}: {result['outcome']}", *result["last_lines"]])

    def save(self):
        self.record.data["sessions"][-1]["seconds"] = round(self.budget.spent(), 1)
        self.record.save(self.path)
        write(self.path.with_suffix(".md"), report.markdown(self.record.data))

    def measure(self, part):
        """Brings a part as far as the budget reaches. Its failure is noted and is nobody else's."""
        figures = self.record.part(part.identifier, **part.facts())
        if figures["state"] == "failed" and self.options.retry_failed:
            figures.clear()
            figures.update(state="open", **part.facts())
        if figures["state"] != "open":
            return
        try:
            MEASURES[part.kind](self, part, figures)
        except OutOfTime as reason:
            figures["cut"] = str(reason)
            print(f"[{self.budget.spent():.0f} s] {part.identifier}: left open, {reason}", file=sys.stderr)
        except Exception as error:  # a mistake of this program must not take the rest of a loan
            traceback.print_exc()
            figures.update(state="failed", last_lines=[f"measure.py: {type(error).__name__}: {error}"])
        if figures["state"] != "open":
            figures.pop("cut", None)
        self.save()


def check_peers(described: dict, options):
    """A Python that cannot do what it is for is a mistake to be told before the time runs."""
    for name, flag in (("open_clip", "--python"), ("ALBEF", "--albef-python")):
        if name not in described:
            continue
        versions = described[name]
        needed = "open_clip_torch" if name == "open_clip" else "transformers"
        python = options.python if name == "open_clip" else options.albef_python
        if versions is None or versions[needed] is None:
            raise SystemExit(f"measure.py: {flag} {python}: it cannot import torch or lacks {needed}")
        if options.peer_device == "cuda" and not versions["cuda_is_available"]:
            raise SystemExit(f"measure.py: {flag} {python}: its PyTorch {versions['torch']} finds no CUDA device; --peer-device cpu is the other choice")


def open_record(options, described: dict) -> tuple:
    """A new record or the one to go on with, and where it is written."""
    card = options.card or described["card"].get("name") or described["cpu"]
    if options.resume:
        try:
            record = Record.load(options.resume)
            record.check(card, described["builds"])
        except RecordError as error:
            raise SystemExit(f"measure.py: {error}") from None
        return record, options.out / options.resume.name
    date = datetime.date.today().isoformat()
    path = options.out / f"{date}-gpu-{re.sub(r'[^a-z0-9]+', '-', card.lower()).strip('-')}.json"
    if path.exists() and not options.dry_run:
        raise SystemExit(f"measure.py: {path} is there already: go on with it by --resume {path}, or move it away")
    return Record.new(card, date), path


def main():
    options = command_line.checked()
    budget = Budget(options.budget, options.limit)  # what is asked of the machine first counts too
    # A plan may be made where there is no card.
    pythons = {} if options.dry_run else {"open_clip": options.python, "ALBEF": options.albef_python}
    described = machine.describe(ROOT, options.builds, pythons)
    check_peers(described["peers"], options)
    record, path = open_record(options, described)
    if options.dry_run:
        print(plan.table(options, record))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    record.data["sessions"].append({
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "command": shlex.join(["python3", *sys.argv]),
        "machine": described, "notes": options.note, "peaks": options.peaks or peaks.of_card(record.data["card"]),
    })
    # A loan that ends by SIGTERM must leave nothing running on the card: `process.run` ends its child on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    session = Session(options, budget, record, path, machine.card_bytes(described["card"]))
    for part in plan.parts(options):
        session.record.part(part.identifier, **part.facts())
    session.save()
    for part in plan.parts(options):
        session.measure(part)
    left = [part.identifier for part in plan.parts(options) if record.data["parts"][part.identifier]["state"] == "open"]
    print(f"{path.with_suffix('.md')} and {path.name}" + (f"; open: {len(left)} parts, for --resume {path}" if left else ""))


if __name__ == "__main__":
    main()
