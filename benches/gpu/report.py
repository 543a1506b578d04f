"""The record for a reader: tables in Markdown, with the commands."""

import shlex
import statistics

from options import ROOT

COUNTED = """A step is upload, forward and backward pass and optimiser, on one synthetic batch; times are medians. Floating-point operations of a step are those that
`twinflame bench --json` gives as `model_flops_per_step`: three times the products of a forward pass for a CLIP, every pass of each
encoder for an ALBEF (`crates/twinflame/src/cli/bench/workload.rs`). PyTorch's are taken to be the same. Share of peak is their rate over
what the card computes at most without sparsity: {peaks}. burn's matrix kernels round f32 to TF32 on CUDA where the card has it
(cubek-matmul 0.3.1, `multi_level/definition/blueprint.rs`), so Twinflame's f32 on CUDA has two shares, of f32 and of TF32. Memory of Twinflame on a GPU is what burn's pools reserved; of
PyTorch on a GPU, what tensors took and what was reserved; on a processor, the process's largest. PyTorch's inputs wait in pinned memory
in f32, Twinflame's are bytes that it normalises on the device."""


def number(value, digits=0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def rate_of(samples_per_second) -> str:
    return number(samples_per_second, 1 if (samples_per_second or 0) >= 10 else 3)


def table(header: list, rows: list, texts: int) -> str:
    """A table of which the first `texts` columns are words."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * texts + " ---: |" * (len(header) - texts)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def spoken(command: list, environment: dict) -> str:
    """A command as one would type it in the repository's root."""
    words = [word.removeprefix(f"{ROOT}/") for word in command]
    return " ".join([*(f"{name}={shlex.quote(value.removeprefix(f'{ROOT}/'))}" for name, value in environment.items()), shlex.join(words)])


def console(commands: list) -> str:
    return "```console\n" + "\n".join(f"$ {command}" for command in dict.fromkeys(commands)) + "\n```"


def machine(session: dict) -> str:
    """One session's machine in a few lines."""
    about, card = session["machine"], session["machine"]["card"]
    parts = []
    if card:
        parts.append(f"{card['name']}, {card['memory.total']}, limit {card['power.limit']}, driver {card['driver_version']}, CUDA {card['cuda']}"
                     + (f", Vulkan {about['vulkan']}" if about["vulkan"] else "")
                     + f"; {card['other_processes_on_the_card']} other processes on it")
    parts.append(f"{about['cpu']}, {about['cpus']} CPUs, {number((about['memory_bytes'] or 0) / 2**30)} GiB, {about['system']}, "
                 f"{about['libc']}, load {about['load']:.1f} at the start")
    parts.append(f"checkout {about['commit']}; {about['rustc'] or 'no rustc here'}")
    for name, versions in about["peers"].items():
        parts.append(f"{name}: " + ", ".join(f"{key} {value}" for key, value in versions.items() if value is not None))
    lines = [f"- {part}." for part in [*parts, *(note.rstrip(".") for note in session["notes"])]]
    return f"Session of {session['started']}, {number(session.get('seconds'))} s:\n\n" + "\n".join(lines) + "\n\n" + console([session["command"]])


def devices(sessions: list) -> str:
    """What each build says of the devices, once."""
    found = {}
    for session in sessions:
        for name, build in session["machine"]["builds"].items():
            found[name] = build
    texts = []
    for name, build in found.items():
        text = build["devices"] or "`twinflame devices` fails"
        lines = [line.rstrip() for line in text.splitlines()]
        path = build["path"].removeprefix(f"{ROOT}/")
        texts.append(f"Build `{name}`, `{path}`, SHA-256 {build['sha256'][:16]}…:\n\n```text\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(texts)


def parity(parts: dict, processes: list) -> str:
    rows, failures = [], []
    for identifier, part in parts.items():
        done = part.get("modules", {})
        counts = [sum(result.get(key, 0) for result in done.values()) for key in ("passed", "failed", "ignored")]
        broken = [f"{module}: {result['outcome']}" for module, result in done.items() if result["outcome"] not in ("ok", "failed")]
        outcome = part["state"] + (f" ({', '.join(broken)})" if broken else "")
        rows.append([part["build"], part["device"], outcome, *map(str, counts), number(sum(result["seconds"] for result in done.values()))])
        failures += [f"- {identifier}: `{name}`" for result in done.values() for name in result["failures"]]
    text = table(["build", "device", "outcome", "passed", "failed", "ignored", "s"], rows, 3)
    # Each module in a process of its own, its tests named.
    commands = [spoken([process["command"][0], "--exact"], process["environment"]) + " TEST…" for process in processes if process["kind"] == "module"]
    return "\n\n".join(filter(None, [text, "\n".join(failures), commands and console(commands)]))


def shares(flops_per_second, precision: str, peaks) -> str:
    """Share of the peak in a precision; of two for `f32/tf32`, of which it may be either."""
    known = [(peaks or {}).get(kind) for kind in precision.split("/")]
    if flops_per_second is None or not any(known):
        return "–"
    return " / ".join(f"{flops_per_second / peak / 1e10:.1f} %" if peak else "–" for peak in known)


def rounding(precision: str, device: str) -> str:
    """What peak a run of Twinflame has to be held against."""
    return "f32/tf32" if precision == "f32" and device.startswith("cuda") else precision


def tera(flops_per_second) -> str:
    return number(flops_per_second and flops_per_second / 1e12, 2)


def largest(parts: dict, processes: list, peaks) -> str:
    rows = []
    for part in parts.values():
        best = part.get("best", {})
        rate, memory = best.get("model_flops_per_second"), best.get("peak_memory_bytes")
        tries = ", ".join(str(attempt["batch_size"]) for attempt in part.get("tries", []))
        outcome = part.get("ended_by", "") if part["state"] == "done" else part["state"]
        rows.append([part["model"], part["precision"], part["build"], part["device"], outcome, tries, number(part.get("largest")),
                     number(best.get("step_ms"), 1), rate_of(best.get("samples_per_second")), number(memory and memory / 1e6), tera(rate),
                     shares(rate, rounding(part["precision"], part["device"]), peaks)])
    header = ["model", "precision", "build", "device", "ended by", "tried", "largest batch", "ms a step", "samples/s", "memory, MB", "TFLOP/s",
              "share of peak"]
    commands = [spoken(process["command"], process["environment"]) for process in processes if process["kind"] == "bench"
                and process["part"] in parts]
    return "\n\n".join(filter(None, [table(header, rows, 6), commands and console(commands)]))


def turn_row(name: str, rounds: list, part: dict, flops_per_sample, base, peaks) -> list:
    figures = [turn[name] for turn in rounds if name in turn]
    last = figures[-1]
    step = statistics.median(figure["step_ms"] for figure in figures)
    rate = flops_per_sample and flops_per_sample * part["batch_size"] / step * 1e3
    memory = [last.get(key) for key in ("peak_memory_bytes", "peak_reserved_bytes")]
    ours = name.startswith("Twinflame")
    kind = rounding(part["precision"], last["device"]) if ours else "tf32" if last["tf32"] and part["precision"] == "f32" else part["precision"]
    return [name, *(number(turn.get(name, {}).get("step_ms"), 1) for turn in rounds), rate_of(part["batch_size"] / step * 1e3), number(last.get("data_ms"), 1),
            " / ".join(number(value / 1e6) for value in memory if value), tera(rate), shares(rate, kind, peaks), f"{base / step:.2f}" if base else "–"]


def turns(part: dict, processes: list, peaks) -> str:
    rounds = [turn for turn in part.get("rounds", []) if turn]
    names = list(dict.fromkeys(name for turn in rounds for name in turn))
    ours = [turn[name] for turn in rounds for name in turn if name.startswith("Twinflame")]
    flops_per_sample = ours[0]["model_flops_per_step"] / ours[0]["batch_size"] if ours else None
    first = next((name for name in names if name.startswith("Twinflame")), None)
    base = statistics.median(turn[first]["step_ms"] for turn in rounds if first in turn) if first else None
    rows = [turn_row(name, rounds, part, flops_per_sample, base, peaks) for name in names]
    header = ["", *(f"ms a step, {index}" for index in range(1, len(rounds) + 1)), "samples/s", "upload, ms", "memory, MB", "TFLOP/s", "share of peak",
              f"step of {first or 'Twinflame'} over this"]
    crowded = [f"At {entry['batch_size']} pairs {entry['name']} had no room." for entry in part.get("no_room", [])]
    absent = [f"{name}: {figures['outcome']}, see below." for name, figures in part.get("left_out", {}).items()]
    several = len({process["session"] for process in processes}) > 1
    remark = " ".join([*crowded, *absent, *(["Rounds are of several sessions."] if several else [])])
    commands = {process["participant"]: spoken(process["command"], process["environment"]) for process in processes}
    title = f"### {part['model']}, {part['precision']}, batch {part.get('batch_size', '–')}" + ("" if part["state"] == "done" else f" ({part['state']})")
    body = table(header, rows, 1) if rows else f"Nothing: {part.get('cut') or part.get('last_lines', [part['state']])[0]}."
    return "\n\n".join(filter(None, [title, body, remark, commands and console(list(commands.values()))]))


def failures(parts: dict) -> str:
    """What failed or is open, with the last lines of it."""
    texts = []
    for identifier, part in parts.items():
        reports = [(part["state"], part.get("last_lines"))] if part["state"] in ("failed", "unsupported") else []
        reports += [(f"{module}: {result['outcome']}", result["last_lines"]) for module, result in part.get("modules", {}).items()]
        reports += [(f"{name}: {figures['outcome']}", figures["last_lines"]) for name, figures in part.get("left_out", {}).items()]
        reports += [("the search ended", part["end_lines"])] if part.get("ended_by") in ("crash", "error") else []
        for what, lines in reports:
            if lines:
                texts.append(f"{identifier}, {what}:\n\n```text\n" + "\n".join(lines) + "\n```")
    left = [f"- {identifier}" + (f": {part['cut']}" if part.get("cut") else "") for identifier, part in parts.items() if part["state"] == "open"]
    return "\n\n".join(filter(None, ["\n\n".join(texts), left and "Open:\n\n" + "\n".join(left)]))


def markdown(data: dict) -> str:
    parts, sessions, processes = data["parts"], data["sessions"], data["processes"]
    peaks = next((session["peaks"] for session in reversed(sessions) if session["peaks"]), None)
    kinds = {kind: {name: part for name, part in parts.items() if part["kind"] == kind} for kind in ("parity", "largest", "turns")}
    texts = [f"# Steps on {data['card']}, {data['date']}",
             "Written by `benches/gpu/measure.py`; the raw figures are in the `.json` of the same name.",
             *map(machine, sessions), devices(sessions)]
    if kinds["parity"]:
        texts += ["## Parity suite", parity(kinds["parity"], processes)]
    if kinds["largest"]:
        texts += ["## The largest batch", largest(kinds["largest"], processes, peaks)]
    if kinds["turns"]:
        texts.append("## Beside PyTorch, in turns")
        texts += [turns(part, [process for process in processes if process["part"] == name], peaks) for name, part in kinds["turns"].items()]
    unfinished = failures(parts)
    if unfinished:
        texts += ["## Failed, left out, open", unfinished]
    known = peaks and ", ".join(f"{peaks[kind]:g} TFLOP/s in {kind}" for kind in ("f32", "tf32", "bf16") if peaks[kind])
    texts += ["## How it is counted", COUNTED.format(peaks=f"{known} ({peaks['source']})" if peaks else "not known of this card")]
    return "\n\n".join(texts) + "\n"
