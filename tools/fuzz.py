"""Feed hostile files to ffedge: `python tools/fuzz.py --files 20000 --seed 0 [--kind npz] [--out bench/results]`.

Each file goes to a worker process that does what a user would do with it. Allowed is that the file is read, or that it
is refused by an FfedgeError or ValueError of one line that names it. Everything else is a finding: another exception,
more than 10 seconds, more than 200 MB, a worker that dies, a pickle that ran, a file written elsewhere, a full disk.
Every 200th file also goes through the real command line. Findings are saved with the command that repeats them.

Exit code 0: no findings.
"""

import argparse
import contextlib
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tools")]

import numpy as np  # noqa: E402
from common import write_results  # noqa: E402
from fuzz_files import KINDS, Case, Valid, hostile  # noqa: E402
from fuzz_worker import Finding, check_exit  # noqa: E402

from ffedge.training.checkpoint import Checkpoints  # noqa: E402

MOST_BYTES = 200_000_000
MOST_SECONDS = 10.0
RESTART_BYTES = 110_000_000  # a worker that holds more than this from earlier files is replaced
RESTART_FILES = 500
COMMAND_EVERY = 200
LONG_EVERY = 40  # files of which one is also trained on
RESUME_EVERY = 8  # checkpoints of which one is also gone on from or exported
MOST_UNPACKED_BYTES = 100_000_000


@dataclass
class Tally:
    """What became of the files of one kind."""

    files: int = 0
    read: int = 0
    refused: int = 0
    findings: int = 0
    commands: int = 0
    longest_s: float = 0.0
    longest_was: str = ""
    rss_peak_bytes: int = 0
    rss_peak_was: str = ""
    mutations: Counter[str] = field(default_factory=Counter)


class Worker:
    """A worker process, started anew whenever it has died or grown."""

    def __init__(self, environment: dict[str, str], errors: Path) -> None:
        self._environment, self._errors = environment, errors
        self._process: subprocess.Popen[bytes] | None = None
        self._files = 0

    def ask(self, request: dict[str, Any], most_s: float) -> dict[str, Any]:
        """Return the worker's answer; a finding if it dies or takes too long."""
        if self._process is None:
            with self._errors.open("wb") as errors:
                command = [sys.executable, str(ROOT / "tools/fuzz_worker.py")]
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=self._environment
                )
            self._files, most_s = 0, most_s + 20  # it has imports to do
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], most_s)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            what = f"died with code {self._process.wait()}" if ready else f"took more than {most_s:g} s"
            self.stop()
            tail = self._errors.read_text(errors="replace")[-300:]
            return {
                "outcome": "finding",
                "text": f"the worker {what}: {tail!r}",
                "seconds": most_s,
                "rss_peak_bytes": 0,
            }
        answer: dict[str, Any] = json.loads(line)
        self._files += 1
        if answer["rss_bytes"] > RESTART_BYTES or self._files >= RESTART_FILES:
            self.stop()
        return answer

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class Fuzzer:
    """One run: a temporary folder, the valid files in it, a worker."""

    def __init__(self, seed: int, findings: Path, most_s: float) -> None:
        self.seed, self.findings, self._most_s = seed, findings, most_s
        self.tallies = {kind: Tally() for kind in KINDS}
        self.lines: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix="ffedge-fuzz-"))
        self._good, self._case, self._cache = (self._folder / name for name in ("good", "case", "cache"))
        self._good.mkdir()
        self._marker = self._folder / "code-was-run"
        os.environ["FFEDGE_CACHE"] = str(self._cache)  # for the valid files, too
        self.valid = Valid(self._good, self._marker)
        np.save(self._good / "x.npy", self.valid.images[:3])
        self._fixed = {
            "model": str(self.valid.run / "model.onnx"),
            "data": str(self.valid.data),
            "out": str(self._folder / "out"),
            "about": Checkpoints(self.valid.stopped / "checkpoint").newest().about,
        }
        self._environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "FFEDGE_CACHE": str(self._cache),
            "FFEDGE_DATA": str(self._folder / "none"),
            "HOME": str(self._folder / "home"),
            "XDG_CACHE_HOME": str(self._folder / "home"),  # onnxruntime writes there
        }
        self._cwd = self._folder / "cwd"
        self._cwd.mkdir()
        os.chdir(self._cwd)
        self._worker = Worker(self._environment, self._good / "worker-errors.txt")
        self._expected = {"good", "case", "cache", "out", "cwd", "home"}

    def one(self, kind: str, number: int) -> str:
        """Make one hostile file and use it; return the outcome."""
        rng = random.Random(f"{self.seed} {kind} {number}")
        case = hostile(kind, self.valid, rng)
        packed = self._write(case)
        path = self._case / case.main
        every = RESUME_EVERY if kind == "safetensors" else LONG_EVERY
        request = {"kind": kind, "path": str(path), "turn": rng.randrange(60), "long": number % every == 0}
        answer = self._worker.ask(request | self._fixed, self._most_s + (20 if request["long"] else 0))
        tally = self.tallies[kind]
        if number % COMMAND_EVERY == COMMAND_EVERY - 1 and answer["outcome"] != "finding":
            tally.commands += 1
            answer |= self._command(kind, path, number)
        problem = answer["text"] or self._aftermath(case, packed)
        if not problem and answer["rss_peak_bytes"] > MOST_BYTES:
            problem = f"took {answer['rss_peak_bytes'] / 1e6:.0f} MB (from {answer['rss_start_bytes'] / 1e6:.0f})"
        self._count(tally, case, answer, number, bool(problem), bool(request["long"]))
        if problem:
            self._save(kind, number, case, problem)
        return "finding" if problem else str(answer["outcome"])

    def close(self) -> None:
        """End the worker and remove what was made."""
        self._worker.stop()
        os.chdir(ROOT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, case: Case) -> int:
        for folder in (self._case, self._cache, self._folder / "out"):
            shutil.rmtree(folder, ignore_errors=True)
        (self._folder / "out").unlink(missing_ok=True)
        for name, content in case.files.items():
            path = self._case / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return sum(map(len, case.files.values()))

    def _command(self, kind: str, path: Path, number: int) -> dict[str, Any]:
        """Put the file through the real command line."""
        model = self._fixed["model"]
        words = {
            "image": ("predict", model, path),
            "model": ("info", path),
            "nir": ("predict", path, "-"),
            "report": ("report", path.parent),
            "safetensors": ("export", path, "--out", self._fixed["out"], "--force"),
        }.get(kind, ("data", "fetch", path))
        command = [sys.executable, "-m", "ffedge", *map(str, words)]
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._most_s + 20,
                check=False,
            )
            check_exit(done.returncode, done.stderr.decode(errors="replace"), str(self._case))
        except subprocess.TimeoutExpired:
            return {"outcome": "finding", "text": f"ffedge {words[0]} did not end"}
        except Finding as finding:
            return {"outcome": "finding", "text": f"ffedge {words[0]}: {finding}"}
        return {}

    def _aftermath(self, case: Case, packed: int) -> str:
        """Look for what a file may not leave behind."""
        if self._marker.exists():
            self._marker.unlink()
            return "code was run: the pickle's file is there"
        strange = {p.name for p in self._folder.iterdir()} - self._expected | {p.name for p in self._cwd.iterdir()}
        if strange:
            for name in strange:
                for place in (self._folder, self._cwd):
                    (place / name).unlink(missing_ok=True)
            return f"wrote outside: {sorted(strange)}"
        data = {name: content for name, content in case.files.items() if name != "metrics.jsonl" and "/" not in name}
        if any(
            (self._case / name).read_bytes() != content for name, content in data.items()
        ):  # a run goes on in its own
            return "the file itself was changed"
        unpacked = sum(p.stat().st_size for p in self._cache.rglob("*") if p.is_file()) if self._cache.exists() else 0
        if unpacked > MOST_UNPACKED_BYTES:
            return f"wrote {unpacked / 1e6:.0f} MB to the cache, from {packed / 1e6:.2f} MB"
        return ""

    def _count(self, tally: Tally, case: Case, answer: dict[str, Any], number: int, found: bool, long: bool) -> None:
        tally.files += 1
        tally.mutations[case.mutation] += 1
        if found:
            tally.findings += 1
        elif answer["outcome"] == "read":
            tally.read += 1
        else:
            tally.refused += 1
        if answer["seconds"] > tally.longest_s and not long:
            tally.longest_s, tally.longest_was = round(answer["seconds"], 3), f"{number} ({case.mutation})"
        if answer["rss_peak_bytes"] > tally.rss_peak_bytes:
            tally.rss_peak_bytes, tally.rss_peak_was = answer["rss_peak_bytes"], f"{number} ({case.mutation})"

    def _save(self, kind: str, number: int, case: Case, problem: str) -> None:
        folder = self.findings / f"{kind}-{self.seed}-{number}"
        for name, content in case.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        again = f"python tools/fuzz.py --seed {self.seed} --kind {kind} --only {number}"
        self.lines.append(f"{kind} {number} ({case.mutation}): {problem}")
        print(f"FINDING {self.lines[-1]}\n  repeat: {again}", flush=True)


def numbered(kinds: tuple[str, ...], files: int) -> Iterator[tuple[str, int]]:
    """Take turns between the kinds."""
    yield from ((kinds[i % len(kinds)], i // len(kinds)) for i in range(files))


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, help="only this kind of file")
    parser.add_argument("--only", type=int, help="only this number of a kind, to repeat a finding")
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS, help="most a file may take")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="where findings are saved")
    parser.add_argument("--out", type=Path, help="folder for the summary, as JSON")
    options = parser.parse_args()
    kinds = (options.kind,) if options.kind else KINDS
    todo = [(kinds[0], options.only)] if options.only is not None else list(numbered(kinds, options.files))
    began, fuzzer = time.perf_counter(), Fuzzer(options.seed, options.findings.resolve(), options.seconds)
    try:
        for done, (kind, number) in enumerate(todo, 1):
            fuzzer.one(kind, number)
            if done % 1000 == 0:
                print(f"{done} files, {len(fuzzer.lines)} findings, {time.perf_counter() - began:.0f} s", flush=True)
    finally:
        fuzzer.close()
    report(fuzzer, options, time.perf_counter() - began)
    return 1 if fuzzer.lines else 0


def report(fuzzer: Fuzzer, options: argparse.Namespace, seconds: float) -> None:
    """Print a line a kind, and write the summary where it is asked for."""
    for kind, tally in fuzzer.tallies.items():
        if tally.files:
            counts = f"{tally.files:6} files {tally.read:6} read {tally.refused:6} refused {tally.findings:4} findings"
            worst = f"longest {tally.longest_s:.2f} s for {tally.longest_was}, peak {tally.rss_peak_bytes / 1e6:.0f} MB"
            print(f"{kind:12} {counts} {tally.commands:3} commands, {worst}")
    if options.out:
        settings = {"files": options.files, "seed": options.seed, "kind": options.kind, "most_s": options.seconds}
        settings |= {"most_bytes": MOST_BYTES, "command_every": COMMAND_EVERY}
        settings |= {"long_every": LONG_EVERY, "resume_every": RESUME_EVERY}
        results = {
            "seconds": round(seconds, 1),
            "kinds": {kind: vars(tally) for kind, tally in fuzzer.tallies.items()},
            "findings": fuzzer.lines,
        }
        packages = ("onnx", "safetensors", "pillow", "h5py", "nir")
        print(f"results: {write_results('fuzz', settings, results, options.out, packages)}")


if __name__ == "__main__":
    sys.exit(main())
