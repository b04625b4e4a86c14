"""The table that a person sees at the end of training, on stdout."""

from pathlib import Path

from ffedge.cli.tables import percent, print_table
from ffedge.training.records import Report

MIB = 2**20


def print_layers(report: Report, model: Path) -> None:
    """Print a run's closing table and what it reached."""
    widths = report.spec["network"]["widths"]
    rows = [
        [
            f"{r.index}: {widths[r.index]}",
            str(r.epochs),
            f"{r.loss:.4f}",
            percent(r.accuracy).removesuffix(" %"),
            percent(r.accuracy_sum).removesuffix(" %"),
            "-" if r.gamma is None else f"{r.gamma:.3f}",
            f"{r.seconds:.1f}",
            f"{r.state_bytes / MIB:.1f}",
            f"{r.rss_start_bytes / MIB:.0f}",
            f"{r.rss_peak_bytes / MIB:.0f}",
        ]
        for r in report.layers
    ]
    print_table(
        f"{report.spec['rule']['variant']} on {report.data['name']}",
        ["layer", "epochs", "loss", "held\nout %", "sum\n%", "gamma", "secs", "state\nMiB", "start\nMiB", "peak\nMiB"],
        rows,
    )
    print("held out: the layer alone; sum: all layers up to it; state: weights and moments")
    print(f"test accuracy  {percent(report.test_accuracy)}{_balanced(report.test_balanced_accuracy)}")
    train = f"{percent(report.train_accuracy)}{_balanced(report.train_balanced_accuracy)}"
    print(f"train accuracy {train} ({report.train_accuracy_rows:,} rows)")
    print(
        f"{report.seconds:.1f} s, peak {report.rss_peak_bytes / MIB:.0f} MiB ({report.import_bytes / MIB:.0f} imports)"
    )
    print(f"model {model} ({report.model_bytes / 1e6:.2f} MB)")


def _balanced(share: float | None) -> str:
    """Return the mean of the classes' accuracies, where it was measured."""
    return "" if share is None else f", balanced {percent(share)}"
