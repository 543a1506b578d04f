"""Twinflame and PyTorch in turns, on the same batch: every round runs each of them once, in a process of its own."""

from largest import command as our_command
from largest import SMALLEST, figures_of
from machine import cpus
from options import ROOT
from plan import Part, is_albef, peer_runs

PEER_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}


def participants(session, part) -> list:
    """Name, kind and a function from a batch size to the command, of everyone who can take part."""
    options, found = session.options, []
    build = options.builds[0]
    for device in options.devices:
        own = Part("largest", part.model, part.precision, build, device)
        if session.record.data["parts"].get(own.identifier, {}).get("largest"):
            found.append((f"Twinflame {device}", "bench", lambda size, own=own: our_command(own, size, options.steps)))
    for name, arguments in peer_runs(options, part.model, part.precision):
        kind = "peer, compiled" if "--compile" in arguments else "peer"
        found.append((name, kind, lambda size, arguments=arguments: peer_command(options, part, size, arguments)))
    return found


def peer_command(options, part, batch_size: int, arguments: list) -> list:
    script = ROOT / "benches" / "peer" / ("bench_albef.py" if is_albef(part.model) else "bench_open_clip.py")
    python = options.albef_python if is_albef(part.model) else options.python
    reference = ["--albef", options.albef.resolve()] if is_albef(part.model) else []
    return [python, script, part.model, *reference, "--batch-size", batch_size, "--steps", options.steps, "--warmup", 3,
            "--device", options.peer_device, "--precision", part.precision, "--threads", cpus(), *arguments]


def searches(session, part) -> list:
    """What is known of the largest batch on each device of the first build."""
    build, known = session.options.builds[0], session.record.data["parts"]
    return [known.get(Part("largest", part.model, part.precision, build, device).identifier, {}) for device in session.options.devices]


def first_batch(session, part):
    """The largest power of two that fits on every device of the first build: the reference's ALBEF takes no other. `None` if none is known."""
    sizes = [search["largest"] for search in searches(session, part) if search.get("largest")]
    return 1 << (min(sizes).bit_length() - 1) if sizes else None


def missing(turn: dict, everyone: list, left_out: dict) -> list:
    return [participant for participant in everyone if participant[0] not in turn and participant[0] not in left_out]


def take_turn(session, part, everyone, batch_size: int, turn: dict, left_out: dict) -> str | None:
    """Runs those who have not run in this round. Returns the name of one who finds no room for the batch, with whom the round ends."""
    for name, kind, command in missing(turn, everyone, left_out):
        environment = PEER_ENVIRONMENT if kind != "bench" else {}
        figures = figures_of(session.run(part, kind, command(batch_size), environment, participant=name))
        if figures["outcome"] in ("memory", "buffer size"):
            return name
        (turn if figures["outcome"] == "ok" else left_out)[name] = figures
        session.save()
    return None


def measure(session, part, figures):
    """`figures` gets `batch_size`, `rounds` with the figures of everyone by name, `left_out` with those who failed, and `no_room`."""
    everyone = participants(session, part)
    batch_size = figures.get("batch_size") or first_batch(session, part)
    if batch_size is None:
        if all(search.get("state", "open") != "open" for search in searches(session, part)):
            figures.update(state="failed", last_lines=["no batch fits on any device of the first build"])
        else:
            figures["cut"] = "the largest batch of a device has to be known first"
        return
    figures["batch_size"] = batch_size
    rounds, left_out = figures.setdefault("rounds", []), figures.setdefault("left_out", {})
    while len(rounds) < session.options.rounds or missing(rounds[-1], everyone, left_out):
        if not rounds or not missing(rounds[-1], everyone, left_out):
            rounds.append({})
        # The other way round every second time, so that no one always follows the same neighbour.
        order = everyone if len(rounds) % 2 == 1 else everyone[::-1]
        crowded = take_turn(session, part, order, figures["batch_size"], rounds[-1], left_out)
        if crowded is None:
            continue
        figures.setdefault("no_room", []).append({"batch_size": figures["batch_size"], "name": crowded})
        rounds.clear()
        if figures["batch_size"] < 2 * SMALLEST:
            figures.update(state="failed", last_lines=[f"{crowded}: no room even for {figures['batch_size']} pairs"])
            return
        figures["batch_size"] //= 2
        session.save()
    figures["state"] = "failed" if len(left_out) == len(everyone) else "done"
    if figures["state"] == "failed":
        figures["last_lines"] = next(iter(left_out.values()))["last_lines"]
