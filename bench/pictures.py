"""How fast pictures in class folders are read, and in how much memory, to the arrays in the cache.

    python bench/pictures.py --data cifar          # a folder with train/ and test/, as unzipped

A process of its own reads the folder into an empty cache, then finds it there. Its peak counts the interpreter and all
libraries. The files are in the kernel's cache, where there is room: the disk is not measured.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import MIB, arguments, table, write_results

READ = """
import json, sys, time
from ffedge.data import load
from ffedge.meter import rss_bytes, rss_peak_bytes

before, seconds = rss_bytes(), []
for _ in range(2):
    began = time.perf_counter()
    dataset = load(sys.argv[1])
    seconds.append(time.perf_counter() - began)
rows = sum(len(split.labels) for split in (dataset.train, dataset.test) if split)
found = {"pictures": rows, "shape": list(dataset.input_shape), "read_s": seconds[0], "found_again_s": seconds[1]}
print(json.dumps(found | {"rss_before_bytes": before, "rss_peak_bytes": rss_peak_bytes()}))
"""


def main() -> None:
    """Read a folder as often as is asked for, and write the results."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of pictures")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds = [_read(options.data) for _ in range(options.rounds)]
    paces = sorted(found["pictures"] / found["read_s"] for found in rounds)
    pace, again = statistics.median(paces), statistics.median(found["found_again_s"] for found in rounds)
    peak = max(found["rss_peak_bytes"] for found in rounds)
    row = [f"{rounds[0]['pictures']:,}", f"{pace:,.0f} ({paces[0]:,.0f} to {paces[-1]:,.0f})", f"{again:.2f}"]
    row.append(f"{peak / MIB:.0f}")
    print(table(["pictures", "a second: median (range)", "found again, s", "peak MiB"], [row]))
    results = {"rounds": rounds, "pictures_a_second_median": pace}
    write_results("pictures", options, results, ["Pillow"], data=options.data.name)


def _read(folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        words = [sys.executable, "-c", READ, str(folder)]
        done = subprocess.run(words, env=os.environ | {"FFEDGE_CACHE": cache}, capture_output=True, check=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    main()
