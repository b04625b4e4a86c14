"""Peak memory and time of training six convolutions on 32 x 32 x 3 pixels: ffedge beside backprop in torch.

    python bench/conv_memory.py --rounds 3

Backprop too in micro-batches of 8 and of 1, whose gradients are added up: its way to save memory. Each arm runs in a
process of its own, and the arms take turns; `conv_arms` says what they are and how memory is measured.
"""

import statistics
import sys

from common import MIB, PATHS, arguments, table, write_results
from conv_arms import FFEDGE, MICRO

from ffedge.compare.child import ask
from ffedge.compare.runner import spread_text, thread_variables

ARMS = [*FFEDGE, *MICRO]
KEPT = ("import_bytes", "rss_peak_bytes", "seconds")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each arm; they take turns")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--widths", default="64c3,64c3p2,128c3,128c3p2,256c3,256c3p2")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    options = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {name: {key: [] for key in KEPT} for name in options.arms}
    for turn in range(options.rounds):
        for name in options.arms:
            request = {"name": name, "rows": options.rows, "batch_size": options.batch_size, "seed": turn}
            request["widths"] = options.widths.split(",")
            answer = ask("conv_arms", request, thread_variables(1) | PATHS)
            for key in KEPT:
                results[name][key].append(answer[key])
            over = (answer["rss_peak_bytes"] - answer["import_bytes"]) / MIB
            print(f"round {turn}: {name} {over:.1f} MiB over imports, {answer['seconds']:.1f} s", file=sys.stderr)
    rows = []
    for name, found in results.items():
        over = [(p - i) / MIB for p, i in zip(found["rss_peak_bytes"], found["import_bytes"], strict=True)]
        whole = statistics.median(found["rss_peak_bytes"]) / MIB
        rows.append([name, spread_text(over, 1), f"{whole:.0f}", spread_text(found["seconds"], 1)])
    print(table(("median [least, greatest]", "MiB over imports", "process", "s of an epoch"), rows))
    write_results("conv-memory", options, results, ("torch",))


if __name__ == "__main__":
    main()
