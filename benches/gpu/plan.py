"""Which parts there are, in order of importance, and about how long each takes."""

from dataclasses import dataclass

# Seconds of a process of each kind on a data centre's card, before any was run there; guesses, the compiling of kernels included.
GUESSES = {"list": 5, "cargo": 600, "module": 30, "try": 40, "bench": 45, "peer": 45, "peer, compiled": 120}
MODULES = 8  # of the parity suite
TRIES = 5  # until the largest batch is found


@dataclass(frozen=True)
class Part:
    """Something that is measured as a whole. `build` and `device` are `None` for turns, in which all devices of the first build take part."""

    kind: str
    model: str | None = None
    precision: str | None = None
    build: object = None
    device: str | None = None

    @property
    def identifier(self) -> str:
        names = (self.kind, self.build and self.build.name, self.device, self.model, self.precision)
        return " ".join(name for name in names if name)

    def facts(self) -> dict:
        return {"kind": self.kind, "build": self.build and self.build.name, "device": self.device, "model": self.model,
                "precision": self.precision}


def is_albef(model: str) -> bool:
    return model.rpartition("/")[2].startswith("albef")


def parts(options) -> list:
    """The parity of the first build; sizes and turns of its models; then the other builds: their parity, their sizes."""
    first, *others = options.builds
    found = parity([first], options)
    for model in options.models:
        for precision in options.precisions:
            found += [Part("largest", model, precision, first, device) for device in options.devices]
            if peer_runs(options, model, precision):
                found.append(Part("turns", model, precision))
    found += parity(others, options)
    found += [Part("largest", model, precision, build, device) for build in others for model in options.models
              for precision in options.precisions for device in options.devices]
    return [part for part in found if part.kind in options.parts]


def parity(builds, options) -> list:
    return [Part("parity", build=build, device=device) for build in builds if build.parity or build.cargo is not None
            for device in options.devices]


def peer_runs(options, model: str, precision: str) -> list:
    """The ways in which PyTorch runs a model, as name and arguments. In bf16 it rounds to TF32 what is left in f32, as open_clip's
    training does; in f32 both are measured. On a processor there is no TF32."""
    cuda = options.peer_device == "cuda"
    if is_albef(model):
        if not options.albef:
            return []
        name, compiled = "ALBEF", [("", [])]
    else:
        if not options.python:
            return []
        name, compiled = "open_clip", [("", []), (", torch.compile", ["--compile"])]
    if precision == "bf16":
        kinds = [("amp_bf16", ["--tf32"] if cuda else [])]
    else:
        kinds = [("f32, TF32 off", []), ("f32, TF32 on", ["--tf32"])] if cuda else [("f32", [])]
    return [(f"{name} {kind}{suffix}", [*arguments, *more]) for kind, arguments in kinds for suffix, more in compiled]


def seconds(part: Part, options, record) -> float:
    """About how long what is left of a part takes."""
    known = record.data["parts"].get(part.identifier, {})
    if known.get("state", "open") != "open":
        return 0.0

    def usual(kind):
        return record.usual_seconds(kind, part.identifier, GUESSES[kind])

    if part.kind == "parity":
        cargo = usual("cargo") if part.build.cargo is not None else 0.0
        return cargo + max(MODULES - len(known.get("modules", {})), 1) * usual("module")
    if part.kind == "largest":
        return max(TRIES - len(known.get("tries", [])), 1) * usual("try") + usual("bench")
    runs = peer_runs(options, part.model, part.precision)
    peers = sum(usual("peer, compiled" if "--compile" in arguments else "peer") for _, arguments in runs)
    one_round = peers + len(options.devices) * usual("bench")
    return max(options.rounds - len(known.get("rounds", [])), 1) * one_round


def table(options, record) -> str:
    """The plan for a reader, with the sum of the times so far."""
    lines, total = [f"{'seconds':>8}{'sum':>8}  part"], 0.0
    for part in parts(options):
        known = record.data["parts"].get(part.identifier, {})
        needed = seconds(part, options, record)
        total += needed
        state = "" if known.get("state", "open") == "open" else f" ({known['state']} already)"
        over = " — beyond the budget" if needed and options.budget and total > options.budget else ""
        lines.append(f"{needed:8.0f}{total:8.0f}  {part.identifier}{state}{over}")
    if options.budget:
        lines.append(f"budget: {options.budget:.0f} s")
    lines.append("Times are guesses until processes of a kind have run on this card; a part that does not fit is left open for --resume.")
    return "\n".join(lines)
