"""The parity suite, one module of it in a process at a time: a fault of the device spoils no other module, and what is done stays done."""

import json
import re

from options import ROOT

RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.M)
FAILED = re.compile(r"^test (\S+) \.\.\. FAILED", re.M)


def environment(device: str) -> dict:
    """`BURN_DEVICE`: burn's default device must not be the one that is tested. `CARGO_MANIFEST_DIR` leads to the fixtures."""
    return {"TWINFLAME_TEST_DEVICE": device, "BURN_DEVICE": "flex", "CARGO_MANIFEST_DIR": str(ROOT / "tests")}


def suite(session, part):
    """Path of the test program, which cargo builds if it was asked to; `None` with the reason noted if that fails."""
    if part.build.cargo is None:
        return part.build.parity
    command = ["cargo", "test", "-p", "twinflame-tests", "--test", "parity", "--locked", *part.build.cargo, "--no-run",
               "--message-format=json-render-diagnostics"]
    result = session.run(part, "cargo", command)
    for line in result["stdout"].splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if message.get("target", {}).get("name") == "parity" and message.get("executable"):
            return message["executable"]
    return session.fail(part, "cargo test --no-run", result)


def modules(listed: str) -> dict:
    """Names of the tests by their first module, from `--list --format terse`."""
    found = {}
    for line in listed.splitlines():
        name, _, kind = line.rpartition(": ")
        if kind == "test":
            found.setdefault(name.split("::")[0], []).append(name)
    return found


def counts(result: dict) -> dict:
    """What the test program says of a module; no numbers if it ended without a summary."""
    found = RESULT.search(result["stdout"])
    numbers = dict(zip(("passed", "failed", "ignored"), map(int, found.groups()))) if found else {}
    outcome = result["outcome"]
    if found:
        outcome = "failed" if numbers["failed"] else "ok"
    return {**numbers, "outcome": outcome, "failures": FAILED.findall(result["stdout"]), "seconds": result["seconds"],
            "last_lines": result["last_lines"]}


def measure(session, part, figures):
    """Runs the modules that were not run yet. `figures["modules"]` gets the counts of each."""
    program = suite(session, part)
    if program is None:
        return
    listed = session.run(part, "list", [program, "--list", "--format", "terse"], environment(part.device))
    tests = modules(listed["stdout"])
    if not tests:
        session.fail(part, "--list names no tests", listed)
        return
    done = figures.setdefault("modules", {})
    for module, names in tests.items():
        if module not in done:
            command = [program, "--exact", *names]
            done[module] = counts(session.run(part, "module", command, environment(part.device), module=module))
            session.save()
    figures["state"] = "done" if all(result["outcome"] == "ok" for result in done.values()) else "failed"
