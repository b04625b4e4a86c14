"""ffedge bench --neuromorphic."""

import json
import sys
from pathlib import Path
from typing import Any

QUICK = {"data": "mnist-mini", "widths": (100, 100), "epochs": 8, "rows": 200}


def run(given: dict[str, Any], out: Path | None, data_dir: Path | None, *, quick: bool, as_json: bool) -> None:
    """Compare, write the files, and print operations first."""
    from ffedge.cli.tables import percent, print_table
    from ffedge.compare.neuromorphic import CAVEATS, QUICK_TIMESTEPS, Choice, compare, document, write

    chosen: dict[str, Any] = (QUICK | {"timesteps": QUICK_TIMESTEPS}) if quick else {}
    chosen |= {name: value for name, value in given.items() if value is not None}
    place = out or Path("bench-neuromorphic")
    choice = Choice(out=place, data_dir=str(data_dir.resolve()) if data_dir else None, **chosen)
    points, notes = compare(choice, lambda text: print(text, file=sys.stderr))
    files, no_figure = write(choice, points, notes)
    if no_figure:
        notes = [*notes, f"no figure: {no_figure}"]
    if as_json:
        print(json.dumps(document(choice, points, notes)))
        return
    columns = [
        "",
        "time-\nsteps",
        "accuracy",
        "effective\nMACs",
        "effective\nACs",
        "neuron\nupdates",
        "dense",
        "activation\nsparsity",
    ]
    columns += ["connection\nsparsity", "footprint\nMB", "energy\nnJ, estimate"]
    rows = [
        [
            p.name,
            f"{p.timesteps:.1f}" if p.timesteps else "-",
            percent(p.accuracy),
            f"{p.workload.effective_macs:,.0f}",
            f"{p.workload.effective_acs:,.0f}",
            f"{p.workload.neuron_updates:,.0f}",
            f"{p.workload.dense:,.0f}",
            f"{p.workload.activation_sparsity:.4f}",
            f"{p.workload.connection_sparsity:.4f}",
            f"{p.workload.footprint_bytes / 1e6:.2f}",
            f"{p.energy_nj:,.0f}",
        ]
        for p in points
    ]
    print_table("synaptic operations of a sample, all classes", columns, rows)
    print("\n".join([*CAVEATS, *notes]))
    print(", ".join(map(str, files)))
