"""Running other programs on a budget of time, and what an end of theirs means."""

import os
import re
import signal
import subprocess
import time

LAST_LINES = 25

# What an end says about the size that was tried, by the words of burn's runtimes, PyTorch, and both languages' allocators.
MEANINGS = (
    ("memory", re.compile(
        r"out[ -]of[ -](device )?memory|outofmemory|out_of_memory|memory allocation of \d+ bytes failed"
        r"|not enough memory|can(no|')t allocate memory|no free memory", re.I)),
    ("buffer size", re.compile(
        r"can't allocate buffer of size|max_(\w+_|\*_)?buffer_(binding_)?size|buffer size .* greater than|exceeds? the max.* size", re.I)),
    ("unsupported", re.compile(r"is not supported by this device")),
)


class OutOfTime(Exception):
    """The budget does not reach for what comes next."""


class Budget:
    """Seconds that all processes together may take; `None` for no end."""

    def __init__(self, seconds, limit):
        self.start, self.seconds, self.limit = time.monotonic(), seconds, limit

    def spent(self) -> float:
        return time.monotonic() - self.start

    def left(self) -> float:
        return float("inf") if self.seconds is None else self.seconds - self.spent()

    def reserve(self, seconds: float):
        """Raises `OutOfTime` if less than that is left."""
        if self.left() < seconds:
            raise OutOfTime(f"{seconds:.0f} s are needed and {max(self.left(), 0):.0f} s are left")


def meaning(returncode: int, output: str) -> str:
    """What ended a process: ok, memory, buffer size, unsupported, crash or error."""
    if returncode == 0:
        return "ok"
    for name, words in MEANINGS:
        if words.search(output):
            return name
    if returncode == -signal.SIGKILL:
        return "memory"  # the system's last resort; nobody else sends it
    return "crash" if returncode < 0 or "panicked at" in output else "error"


def stop(process):
    """Ends a process and those that it started, which are a group of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def run(command, budget: Budget, environment: dict, folder) -> dict:
    """Runs a program to its end or its limit.

    Returns its `outcome`, as of `meaning` or "time" for one that took longer than a process may, with `seconds`, `stdout` and `last_lines`.
    Raises `OutOfTime` if it was the budget that ended.
    """
    limit = min(budget.limit, max(budget.left(), 0.0))
    start = time.monotonic()
    try:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            cwd=folder, env={**os.environ, **environment}, start_new_session=True,
        )
    except OSError as error:
        return {"outcome": "error", "seconds": 0.0, "stdout": "", "last_lines": [str(error)]}
    try:
        stdout, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        stop(process)
        if limit < budget.limit:
            raise OutOfTime(f"the budget ended {limit:.0f} s after the start of {command[0]}") from None
        return {"outcome": "time", "seconds": limit, "stdout": "", "last_lines": [f"stopped after {limit:.0f} s"]}
    except BaseException:
        stop(process)
        raise
    outcome = meaning(process.returncode, stdout + stderr)
    lines = [line.rstrip() for line in (stdout + "\n" + stderr).splitlines() if line.strip()]
    if process.returncode < 0:
        lines.append(f"ended by signal {-process.returncode}")
    return {
        "outcome": outcome, "seconds": round(time.monotonic() - start, 2), "stdout": stdout,
        "last_lines": [] if outcome == "ok" else lines[-LAST_LINES:],
    }
