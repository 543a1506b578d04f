"""The largest batch that fits, and what a step of it takes."""

import json
import math

SMALLEST = 2  # pairs that have something to contrast with
ENDS = ("memory", "buffer size", "time", "crash", "error")


def next_size(tries: list, options, card_bytes) -> int | None:
    """The batch to try next, `None` when the search is over.

    `tries` are results with `batch_size`, `outcome` and, of one that fits, `peak_memory_bytes`. Sizes double, several times at once
    where the peak leaves room on a card of `card_bytes`; once one does not fit, what is between is halved. An error in words, such as
    that of a device which is not there, ends the search if nothing has fitted yet.
    """
    fits = [result for result in tries if result["outcome"] == "ok"]
    largest = max((result["batch_size"] for result in fits), default=None)
    refused = min((result["batch_size"] for result in tries if result["outcome"] in ENDS), default=None)
    if not tries:
        return options.first_batch
    if largest is None:
        last = tries[-1]["outcome"]
        if refused is None or refused == SMALLEST or last == "error":
            return None
        # A crash that says nothing of memory may be of any size.
        return SMALLEST if last == "crash" else refused // 2
    if refused is None:
        if largest >= options.most_batch:
            return None
        peak = next(result for result in fits if result["batch_size"] == largest).get("peak_memory_bytes")
        # A little less than all of it is to be had, and a step of twice the size takes at most twice as much.
        room = math.log2(0.9 * card_bytes / peak) if card_bytes and peak else 1
        return min(largest * 2 ** max(1, math.floor(room)), options.most_batch)
    if refused - largest <= max(options.resolution * largest, 1):
        return None
    if refused > 2 * largest:
        return largest * 2 ** max(1, round(math.log2(refused / largest) / 2))
    middle = (largest + refused) // 2
    return middle // 8 * 8 if middle // 8 * 8 > largest else middle


def command(part, batch_size: int, steps: int) -> list:
    return [part.build.binary, "bench", part.model, "--batch-size", batch_size, "--steps", steps, "--precision", part.precision,
            "--device", part.device, "--json"]


def figures_of(result: dict) -> dict:
    """What `twinflame bench --json` printed, with how the process ended."""
    figures = {"outcome": result["outcome"]}
    if result["outcome"] != "ok":
        return {**figures, "last_lines": result["last_lines"]}
    try:
        return {**figures, **json.loads(result["stdout"])}
    except ValueError:
        return {"outcome": "error", "last_lines": ["expected one JSON object:", *result["stdout"].splitlines()[-5:]]}


def measure(session, part, figures):
    """Searches, then times `--steps` steps. `figures` gets `tries`, `largest`, `ended_by` and `best`."""
    tries = figures.setdefault("tries", [])
    while (size := next_size(tries, session.options, session.card_bytes)) is not None:
        result = session.run(part, "try", command(part, size, 1), batch_size=size)
        tries.append({"batch_size": size, **figures_of(result)})
        session.save()
        if tries[-1]["outcome"] == "unsupported":
            figures.update(state="unsupported", last_lines=tries[-1]["last_lines"])
            return
    fits = [attempt["batch_size"] for attempt in tries if attempt["outcome"] == "ok"]
    ends = [attempt for attempt in tries if attempt["outcome"] in ENDS]
    if not fits:
        figures.update(state="failed", last_lines=ends[-1]["last_lines"])
        return
    figures["largest"] = max(fits)
    end = min(ends, key=lambda attempt: attempt["batch_size"], default={"outcome": "--most-batch"})
    figures["ended_by"], figures["end_lines"] = end["outcome"], end.get("last_lines", [])
    size = max(fits)
    result = session.run(part, "bench", command(part, size, session.options.steps), batch_size=size)
    best = figures_of(result)
    if best["outcome"] == "ok":
        figures.update(state="done", best=best)
    else:
        figures.update(state="failed", last_lines=best["last_lines"])
