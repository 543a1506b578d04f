"""The raw figures: a JSON file that is complete after every process, so that a measurement which was cut off goes on from it."""

import json
import os
import statistics
from pathlib import Path

FORMAT = 1


class RecordError(Exception):
    """A record that cannot be gone on with."""


class Record:
    """`sessions`: the calls that wrote it, with machine and command. `parts`: what was measured, by identifier. `processes`: every
    program that ran, with its command."""

    def __init__(self, data: dict):
        self.data = data

    @classmethod
    def new(cls, card: str, date: str):
        return cls({"format": FORMAT, "card": card, "date": date, "sessions": [], "parts": {}, "processes": []})

    @classmethod
    def load(cls, path: Path):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RecordError(f"--resume {path}: {error}") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise RecordError(f"--resume {path}: no record of this program in format {FORMAT}")
        return cls(data)

    def check(self, card: str, builds: dict):
        """Raises `RecordError` if other things are to be measured than the record is of."""
        if card != self.data["card"]:
            raise RecordError(f"--resume: the record is of {self.data['card']}, and here is {card}")
        for session in self.data["sessions"]:
            for name, build in session["machine"]["builds"].items():
                if name in builds and builds[name]["sha256"] != build["sha256"]:
                    raise RecordError(f"--resume: build {name} is another binary than the record's; give it another name")

    def part(self, identifier: str, **facts) -> dict:
        """A part's figures so far."""
        return self.data["parts"].setdefault(identifier, {"state": "open", **facts})

    def note(self, part: str, kind: str, command, environment: dict, result: dict, **facts):
        """Keeps what a process was and how it ended."""
        self.data["processes"].append({
            "part": part, "kind": kind, "session": len(self.data["sessions"]) - 1, "command": [str(word) for word in command],
            "environment": environment, "seconds": result["seconds"], "outcome": result["outcome"],
            "last_lines": result["last_lines"], **facts,
        })

    def usual_seconds(self, kind: str, part: str, otherwise: float) -> float:
        """What a process of this kind took here so far, in this part or else in any."""
        taken = [process for process in self.data["processes"] if process["kind"] == kind]
        same = [process["seconds"] for process in taken if process["part"] == part]
        taken = same or [process["seconds"] for process in taken]
        return statistics.median(taken) if taken else otherwise

    def save(self, path: Path):
        write(path, json.dumps(self.data, indent=1, ensure_ascii=False) + "\n")


def write(path: Path, text: str):
    """Replaces a file as a whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
