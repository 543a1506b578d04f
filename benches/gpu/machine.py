"""What the figures were taken on."""

import hashlib
import json
import os
import platform
import re
import subprocess
from pathlib import Path

PEERS = """
import json, platform, torch, importlib.metadata as metadata
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
names = ("open_clip_torch", "timm", "transformers", "triton")
print(json.dumps({"python": platform.python_version(), "torch": torch.__version__, "torch_cuda": torch.version.cuda,
                  "cudnn": torch.backends.cudnn.version(), "cuda_is_available": torch.cuda.is_available(),
                  **{name: version(name) for name in names}}))
"""


def output(*command, folder=None):
    """What a program prints, or `None` where it is not there or fails."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace", cwd=folder, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def first(pattern: str, text):
    found = re.search(pattern, text or "", re.M)
    return found.group(1).strip() if found else None


def read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def nvidia() -> dict:
    """The first card as NVIDIA's driver describes it; empty without one."""
    names = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm")
    table = output("nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader")
    if not table:
        return {}
    others = output("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader")
    return {
        **dict(zip(names, (value.strip() for value in table.splitlines()[0].split(",")))),
        "cuda": first(r"CUDA Version:\s*(\S+)", output("nvidia-smi")),
        "cards": len(table.splitlines()),
        "other_processes_on_the_card": len((others or "").splitlines()),
    }


def card_bytes(card: dict):
    """Memory of a card in bytes, where the driver says so."""
    mebibytes = first(r"^(\d+) MiB", card.get("memory.total"))
    return int(mebibytes) * 1024**2 if mebibytes else None


def commit(root: Path) -> str:
    name = output("git", "rev-parse", "--short=12", "HEAD", folder=root)
    if name is None:
        return "unknown (no git repository)"
    changed = output("git", "status", "--porcelain", folder=root)
    return f"{name}, with changes that are in no commit" if changed else name


def peers(python):
    """Versions of what `python` has of PyTorch and its packages, or `None` where it has no PyTorch."""
    text = output(python, "-c", PEERS)
    return json.loads(text.splitlines()[-1]) if text else None


def of_build(build) -> dict:
    with open(build.binary, "rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    return {"path": str(build.binary), "sha256": digest.hexdigest(), "devices": output(build.binary, "devices")}


def cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(root: Path, builds, pythons: dict) -> dict:
    """Card, drivers, processor, versions and load."""
    memory = first(r"^MemTotal:\s*(\d+)", read("/proc/meminfo"))
    return {
        "card": nvidia(),
        "cpu": first(r"^model name\s*:\s*(.*)", read("/proc/cpuinfo")) or platform.processor() or platform.machine(),
        "cpus": cpus(),
        "memory_bytes": int(memory) * 1024 if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "load": os.getloadavg()[0],
        "commit": commit(root),
        "rustc": output("rustc", "--version"),
        "vulkan": first(r"apiVersion\s*=\s*(\S+)", output("vulkaninfo", "--summary")),
        "builds": {build.name: of_build(build) for build in builds},
        "peers": {name: peers(python) for name, python in pythons.items() if python},
    }
