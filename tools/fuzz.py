"""Feed damaged files to ffedge for as long as you like: `python tools/fuzz.py --minutes 20 [--kind model]`.

The files, what is done with them and what must hold are those of tests/hostile; the damage is drawn by a seed. Where
atheris is installed and a kind is named, libFuzzer draws by what parts of ffedge and of its readers a file
reaches; those that reached new ones stay in `--findings`/corpus, for the next run. What breaks a promise
(another exception than an error of one line, much memory, 20 seconds, a crash) is left in `--findings`, where a crash
leaves it too, and ``--repeat FILE --kind model`` shows it again.

Exit code 0: no findings.
"""

import argparse
import collections
import contextlib
import faulthandler
import os
import random
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "tests" / "hostile")]

from damage import damaged  # noqa: E402

if TYPE_CHECKING:
    from targets import Target

LONGEST_S = 20
MOST_BYTES = 1 << 20  # of a drawn file
READERS = ["ffedge", "PIL", "h5py", "zipfile", "gzip", "json", "numpy.lib"]


def main() -> int:
    """Fuzz; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--kind", help="only this kind of file: model, report, checkpoint, idx, npz, …")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="(default: the time)")
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"), help="folder for them, and to work in")
    parser.add_argument("--repeat", type=Path, help="use this one file, and nothing else")
    options = parser.parse_args()
    folder = options.findings.resolve() / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["FFEDGE_CACHE"] = str(folder / "case" / "cache")
    return _fuzz(options, folder)


def _fuzz(options: argparse.Namespace, folder: Path) -> int:
    atheris = None
    if options.kind and not options.repeat:
        with contextlib.suppress(ImportError):
            import atheris
    with atheris.instrument_imports(include=READERS) if atheris else contextlib.nullcontext():
        from targets import targets
    print(f"seed {options.seed}", file=sys.stderr)
    good = targets(folder)
    warnings.simplefilter("error")  # it would stand on stderr
    kinds = [options.kind] if options.kind else list(good)
    if options.repeat:
        print(_held(good[options.kind], options.repeat.read_bytes(), folder / "case"))
        return 0
    if atheris:
        target = good[options.kind]
        corpus = options.findings / "corpus" / options.kind
        corpus.mkdir(parents=True, exist_ok=True)
        (corpus / "whole").write_bytes(target.files[target.main])
        words = [
            sys.argv[0],
            f"-seed={options.seed + 1}",
            f"-max_total_time={60 * options.minutes:.0f}",
            f"-timeout={LONGEST_S}",
            f"-max_len={MOST_BYTES}",
        ]
        words += [f"-artifact_prefix={options.findings}/{options.kind}-", "-rss_limit_mb=2048", str(corpus)]
        draw = lambda data, most, seed: damaged(data, random.Random(seed))[:most]  # noqa: E731
        atheris.Setup(words, lambda data: _held(target, data, folder / "case"), custom_mutator=draw)
        atheris.Fuzz()  # it ends the process, with 77 or 70 where it found something
    rng, last, said = random.Random(options.seed), time.monotonic() + 60 * options.minutes, collections.Counter()
    while time.monotonic() < last:
        kind = rng.choice(kinds)
        content = damaged(good[kind].files[good[kind].main], rng)
        case = options.findings / f"{kind}-{options.seed}-{said.total()}"
        case.write_bytes(content)
        faulthandler.dump_traceback_later(LONGEST_S, exit=True)
        try:
            said[kind, "read" if _held(good[kind], content, folder / "case") == "read" else "refused"] += 1
            case.unlink()
        except Exception:
            said[kind, "FOUND"] += 1
            print(f"{case}\n{traceback.format_exc()}", file=sys.stderr)
        faulthandler.cancel_dump_traceback_later()
    for (kind, what), count in sorted(said.items()):
        print(f"{kind:12} {what:8} {count}")
    return int(any(what == "FOUND" for _, what in said))


def _held(target: "Target", data: bytes, folder: Path) -> str:
    """Use a damaged file in a folder of its own, with a cache of its own; see `targets.hold`."""
    from targets import hold

    try:
        return hold(target, data, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
