"""Tests of the measurement without a GPU: `python3 -m unittest discover benches/gpu`.

A shell script stands for `twinflame` and for the parity suite; what it prints is what they print.
"""

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import SimpleNamespace

import largest
import options
import parity
import peaks
import process
import turns
from record import Record

HERE = Path(__file__).parent
LIMITS = SimpleNamespace(first_batch=128, most_batch=32768, resolution=0.125)

# Fits up to $ROOM pairs, 100 bytes each; of the precision bf16 it has nothing; with $FAULT it crashes from so many pairs on; with
# $SLEEPER it writes its number there and sleeps.
TWINFLAME = """#!/bin/bash
if [ "$1" = devices ]; then echo "no devices"; exit 0; fi
[ -n "$SLEEPER" ] && { echo $$ > "$SLEEPER"; sleep 60; }
[ "$8" = bf16 ] && { echo 'error: task.precision = "bf16" is not supported by this device; it supports "f32"' >&2; exit 1; }
[ -n "$FAULT" ] && [ "$4" -ge "$FAULT" ] && { echo "thread 'main' panicked: the device is lost" >&2; kill -SEGV $$; }
[ "$4" -gt "$ROOM" ] && { echo "error: out of device memory allocating 123 bytes" >&2; exit 1; }
echo "{\\"batch_size\\": $4, \\"device\\": \\"${10}\\", \\"step_ms\\": 10.0, \\"samples_per_second\\": 100.0, \\"peak_memory_bytes\\": $(($4 * 100)),
 \\"model_flops_per_step\\": 1e12, \\"model_flops_per_second\\": 1e14}"
"""
# A Python with PyTorch: `-c` gives its versions; else it is a benchmark on $PEER_ROOM pairs at most.
PYTHON = """#!/bin/bash
if [ "$1" = -c ]; then
  echo '{"python": "3", "torch": "2", "cuda_is_available": true, "open_clip_torch": "3", "transformers": "4"}'; exit 0
fi
[ "$4" -gt "$PEER_ROOM" ] && { echo "torch.OutOfMemoryError: CUDA out of memory." >&2; exit 1; }
case "$*" in *"f32 --threads "*" --tf32 --compile") echo "no C compiler" >&2; exit 1;; esac
tf32=false; case "$*" in *--tf32*) tf32=true;; esac
echo "{\\"device\\": \\"cuda\\", \\"tf32\\": $tf32, \\"step_ms\\": 5.0, \\"data_ms\\": 1.0, \\"peak_memory_bytes\\": 2000000, \\"peak_reserved_bytes\\": 3000000}"
"""
PARITY = """#!/bin/bash
if [ "$1" = --list ]; then printf 'step::a: test\\nstep::b: test\\nmodel::c: test\\nbroken::d: test\\n'; exit 0; fi
case "$2" in
  step::*) printf 'test step::a ... ok\\ntest step::b ... FAILED\\n\\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\\n'; exit 101;;
  model::*) echo "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; on $TWINFLAME_TEST_DEVICE"; [ -d "$CARGO_MANIFEST_DIR/fixtures" ];;
  *) echo "the driver fell over" >&2; kill -ABRT $$;;
esac
"""


def search(most: int, card_bytes=None, first=128, bytes_per_pair=100, fault="memory") -> list:
    """Outcomes of a search on a card that holds `most` pairs."""
    limits, tries = SimpleNamespace(**{**vars(LIMITS), "first_batch": first}), []
    while (size := largest.next_size(tries, limits, card_bytes)) is not None:
        assert len(tries) < 40, tries
        outcome = "ok" if size <= most else fault
        tries.append({"batch_size": size, "outcome": outcome, "peak_memory_bytes": size * bytes_per_pair})
    return [attempt["batch_size"] for attempt in tries]


def ends(number: int) -> bool:
    """Whether a process is gone soon."""
    for _ in range(200):
        try:
            os.kill(number, 0)
            if " Z " in Path(f"/proc/{number}/stat").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


class Search(unittest.TestCase):
    def test_doubles_then_halves_what_is_between(self):
        self.assertEqual(search(700), [128, 256, 512, 1024, 768, 640, 704])

    def test_goes_down_from_a_first_size_that_does_not_fit(self):
        self.assertEqual(search(20, first=128), [128, 64, 32, 16, 24, 20, 22])

    def test_ends_at_the_smallest_batch(self):
        self.assertEqual(search(1, first=8), [8, 4, 2])

    def test_jumps_where_the_peak_leaves_room(self):
        self.assertEqual(search(100_000, card_bytes=128 * 100 * 40)[:2], [128, 4096])

    def test_a_jump_too_far_is_halved_by_powers_of_two(self):
        sizes = search(1000, card_bytes=128 * 100 * 100)
        self.assertEqual(sizes[:3], [128, 8192, 1024])
        self.assertLess(len(sizes), 9)

    def test_an_error_in_words_ends_it_and_a_crash_asks_the_smallest_batch(self):
        self.assertEqual(search(0, fault="error"), [128])
        self.assertEqual(search(0, fault="crash"), [128, 2])
        self.assertEqual(search(10, fault="crash")[:3], [128, 2, 16])

    def test_finds_what_fits_within_the_resolution(self):
        for most in range(2, 3000, 37):
            found = max(size for size in search(most) if size <= most)
            self.assertGreater(found * (1 + LIMITS.resolution) + 1, most, most)

    def test_never_leaves_the_limit(self):
        self.assertEqual(max(search(1 << 30, first=3)), LIMITS.most_batch)


class Ends(unittest.TestCase):
    def test_words_of_the_runtimes(self):
        for words, expected in (
            ("out of device memory allocating 123 bytes", "memory"),  # cubecl
            ("An out-of-memory error happened during launch", "memory"),
            ("DriverError(CUDA_ERROR_OUT_OF_MEMORY)", "memory"),
            ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "memory"),
            ("memory allocation of 4096 bytes failed", "memory"),  # Rust
            ("can't allocate buffer of size: 99", "buffer size"),
            ("Buffer binding 0 range 2 exceeds `max_*_buffer_binding_size` limit 1", "buffer size"),  # wgpu
            ('task.precision = "bf16" is not supported by this device', "unsupported"),
            ("thread 'main' panicked at x.rs", "crash"),
            ("no such model", "error"),
        ):
            self.assertEqual(process.meaning(1, words), expected, words)
        self.assertEqual(process.meaning(-9, ""), "memory")
        self.assertEqual(process.meaning(-11, ""), "crash")
        self.assertEqual(process.meaning(0, "out of memory"), "ok")

    def run_sleep(self, budget: process.Budget):
        with tempfile.NamedTemporaryFile(mode="r") as file:
            # The child writes its own child's number, which must end with it.
            command = ["bash", "-c", f"sleep 60 & echo $! > {file.name}; wait"]
            try:
                return process.run(command, budget, {}, "/"), None
            except process.OutOfTime as error:
                return None, error
            finally:
                self.assertTrue(ends(int(file.read())))

    def test_a_process_has_a_limit_and_the_budget_an_end(self):
        result, _ = self.run_sleep(process.Budget(None, 0.5))
        self.assertEqual(result["outcome"], "time")
        _, error = self.run_sleep(process.Budget(0.5, 30))
        self.assertIsInstance(error, process.OutOfTime)

    def test_a_program_that_is_not_there_is_an_outcome(self):
        self.assertEqual(process.run(["/nonexistent/x"], process.Budget(None, 9), {}, "/")["outcome"], "error")


class Tables(unittest.TestCase):
    def test_cards_by_the_drivers_names(self):
        for name, bf16 in (
            ("NVIDIA H200", 989.5), ("NVIDIA H100 80GB HBM3", 989.5), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4-80GB", 312),
            ("NVIDIA L40S", 362), ("NVIDIA GeForce RTX 4090", 165.2), ("NVIDIA H200 NVL", 835.5),
        ):
            self.assertEqual(peaks.of_card(name)["bf16"], bf16, name)
        for name in ("NVIDIA A1000", "NVIDIA A10G", "NVIDIA GeForce RTX 4090 Laptop GPU", "AMD Radeon"):
            self.assertIsNone(peaks.of_card(name), name)

    def test_peaks_from_the_command_line(self):
        self.assertEqual(peaks.parse("bf16=989.5,f32=67")["bf16"], 989.5)
        self.assertIsNone(peaks.parse("bf16=989")["tf32"])
        for text in ("bf16", "f16=3", "f32=0", "f32=x"):
            with self.assertRaisesRegex(ValueError, "such as bf16=989"):
                peaks.parse(text)

    def test_tests_by_module(self):
        self.assertEqual(parity.modules("a::b::c: test\na::d: test\ne: test\nx: benchmark\n\n"), {"a": ["a::b::c", "a::d"], "e": ["e"]})

    def test_turns_begin_with_a_power_of_two_that_all_devices_hold(self):
        record = Record.new("card", "date")
        for device, size in (("cuda", 1000), ("vulkan", 600)):
            record.part(f"largest a {device} m f32")["largest"] = size
        session = SimpleNamespace(record=record, options=SimpleNamespace(builds=[SimpleNamespace(name="a")], devices=["cuda", "vulkan", "none"]))
        self.assertEqual(turns.first_batch(session, SimpleNamespace(model="m", precision="f32")), 512)


class Mistakes(unittest.TestCase):
    def message(self, *arguments) -> str:
        with contextlib.redirect_stderr(io.StringIO()) as text, self.assertRaises(SystemExit) as stop:
            options.checked(arguments)
        self.assertEqual(stop.exception.code, 2)
        return text.getvalue()

    def test_are_told_at_the_start(self):
        build = f"a={sys.executable}"
        for arguments, words in (
            (["--build", "a=/nonexistent"], "--build a: binary /nonexistent: there is no such file"),
            (["--build", f"{build},/nonexistent"], "--build a: parity test /nonexistent: there is no such file"),
            (["--build", sys.executable], "expected NAME=path/to/twinflame"),
            (["--build", build, "--build", build], "two builds of the name a"),
            (["--build", build, "--cargo-test", "b=--release"], "no --build has that name"),
            (["--build", build, "--budget", "0"], "--budget 0.0: expected more than 0"),
            (["--build", build, "--first-batch", "64", "--most-batch", "32"], "more than --most-batch 32"),
            (["--build", build, "--albef", "/nonexistent"], "no clone of"),
            (["--build", build, "--models", "none.json"], "--models none.json: there is no such file"),
            (["--build", build, "--peak-tflops", "fp8=1"], "expected a precision of"),
        ):
            self.assertIn(words, self.message(*arguments))


class WholeRun(unittest.TestCase):
    """`measure.py` as a program, on scripts that stand for the binaries."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name, text in (("twinflame", TWINFLAME), ("parity", PARITY), ("python", PYTHON)):
            path = self.folder / name
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def command(self, *arguments) -> list:
        command = [sys.executable, HERE / "measure.py", "--build", f"a={self.folder / 'twinflame'},{self.folder / 'parity'}", "--card", "NVIDIA H200",
                   "--out", self.folder / "out", "--devices", "cuda", "--models", "vit-b-32", "--first-batch", "4", *arguments]
        return [str(word) for word in command]

    def measure(self, *arguments, code=0, **environment):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, env={**os.environ, "ROOM": "40", **environment})
        self.assertEqual(done.returncode, code, done.stderr)
        files = {path.suffix: path for path in (self.folder / "out").glob("*")}
        record = json.loads(files[".json"].read_text()) if ".json" in files else None
        return done, record, files[".md"].read_text() if record else None, files.get(".json")

    def test_measures_and_writes_down_what_fails(self):
        _, record, text, _ = self.measure()
        part = record["parts"]["parity a cuda"]
        self.assertEqual(part["state"], "failed")
        self.assertEqual({name: module["outcome"] for name, module in part["modules"].items()}, {"step": "failed", "model": "ok", "broken": "crash"})
        self.assertIn("| a | cuda | failed (broken: crash) | 2 | 1 | 0 |", text)
        self.assertIn("`step::b`", text)
        self.assertIn("the driver fell over", text)
        self.assertEqual(record["parts"]["largest a cuda vit-b-32 bf16"]["state"], "unsupported")
        best = record["parts"]["largest a cuda vit-b-32 f32"]
        self.assertEqual((best["largest"], best["ended_by"]), (40, "memory"))
        # 100 TFLOP/s of 67 in f32 and of 494.5 in TF32.
        self.assertIn("| 100.00 | 149.3 % / 20.2 % |", text)

    def test_a_budget_leaves_parts_open_and_a_resumed_run_ends_them(self):
        _, record, text, path = self.measure("--budget", "0.001")
        self.assertEqual({part["state"] for part in record["parts"].values()}, {"open"})
        self.assertIn("Open:", text)
        self.measure(code=1)  # it does not write over a record
        _, record, text, _ = self.measure("--resume", path)
        self.assertNotIn("open", {part["state"] for part in record["parts"].values()})
        self.assertEqual(len(record["sessions"]), 2)
        taken = len(record["processes"])
        _, record, _, _ = self.measure("--resume", path)
        self.assertEqual(len(record["processes"]), taken)
        _, record, _, _ = self.measure("--resume", path, "--retry-failed")
        self.assertGreater(len(record["processes"]), taken)

    def test_a_crash_at_some_size_is_named(self):
        _, record, text, _ = self.measure("--parts", "largest", FAULT="12")
        part = record["parts"]["largest a cuda vit-b-32 f32"]
        self.assertEqual((part["largest"], part["ended_by"]), (11, "crash"))
        self.assertIn("the device is lost", text)

    def test_turns_on_a_batch_that_everyone_has_room_for(self):
        _, record, text, _ = self.measure("--parts", "largest", "turns", "--python", self.folder / "python", PEER_ROOM="16")
        part = record["parts"]["turns vit-b-32 f32"]
        self.assertEqual((part["state"], part["batch_size"]), ("done", 16))
        self.assertEqual(part["no_room"], [{"batch_size": 32, "name": "open_clip f32, TF32 off"}])
        names = ["Twinflame cuda", "open_clip f32, TF32 off", "open_clip f32, TF32 off, torch.compile", "open_clip f32, TF32 on"]
        self.assertEqual([list(turn) for turn in part["rounds"]], [names, names[::-1]])
        self.assertIn("open_clip f32, TF32 on, torch.compile: error, see below.", text)
        self.assertIn("no C compiler", text)
        # 16 pairs of 1e12 / 16 operations in 5 ms: 200 TFLOP/s, of 67 without TF32 and of 494.5 with it.
        self.assertIn("| open_clip f32, TF32 off | 5.0 | 5.0 | 3,200.0 | 1.0 | 2 / 3 | 200.00 | 298.5 % | 2.00 |", text)
        self.assertIn("| open_clip f32, TF32 on | 5.0 | 5.0 | 3,200.0 | 1.0 | 2 / 3 | 200.00 | 40.4 % | 2.00 |", text)
        # bf16 fits on no device of this binary: there is no batch to compare on.
        self.assertEqual(record["parts"]["turns vit-b-32 bf16"]["state"], "failed")
        self.assertIn("Nothing: no batch fits on any device of the first build.", text)

    def test_turns_wait_for_the_largest_batch(self):
        _, record, text, _ = self.measure("--parts", "turns", "--python", self.folder / "python")
        self.assertEqual({part["state"] for part in record["parts"].values()}, {"open"})
        self.assertIn("Nothing: the largest batch of a device has to be known first.", text)

    def test_an_end_from_outside_leaves_a_record_and_no_process(self):
        sleeper = self.folder / "sleeper"
        running = subprocess.Popen(self.command("--parts", "largest"), stderr=subprocess.DEVNULL, env={**os.environ, "SLEEPER": str(sleeper)})
        for _ in range(400):
            if sleeper.exists() and sleeper.read_text():
                break
            time.sleep(0.05)
        running.terminate()
        self.assertEqual(running.wait(30), 128 + 15)
        self.assertTrue(ends(int(sleeper.read_text())))
        _, record, _, _ = self.measure("--parts", "largest", "--resume", next((self.folder / "out").glob("*.json")))
        self.assertEqual(record["parts"]["largest a cuda vit-b-32 f32"]["state"], "done")

    def test_a_record_of_another_card_or_binary_is_refused(self):
        *_, path = self.measure("--parts", "largest")
        done, *_ = self.measure("--resume", path, "--card", "NVIDIA A100", code=1)
        self.assertIn("the record is of NVIDIA H200, and here is NVIDIA A100", done.stderr)
        with open(self.folder / "twinflame", "a") as file:
            file.write("# changed\n")
        done, *_ = self.measure("--resume", path, code=1)
        self.assertIn("build a is another binary", done.stderr)

    def test_a_dry_run_runs_nothing(self):
        done, record, _, _ = self.measure("--dry-run", "--budget", "100")
        self.assertIsNone(record)
        self.assertIn("parity a cuda — beyond the budget", done.stdout)
        self.assertIn("largest a cuda vit-b-32 bf16", done.stdout)


if __name__ == "__main__":
    unittest.main()
