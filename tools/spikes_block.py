"""The block on spikes, from bench/spikes.py."""

from collections.abc import Sequence
from typing import Any

from results import COMMANDS
from wording import DATA, layers, listed, rounded, table, wrapped

SHOWN = (16, 64)  # timesteps, beside those for which thresholds were chosen; the figure has all


def spikes(documents: Sequence[Any]) -> str:
    """Tabulate accuracy and operations of numbers, spikes and backprop, and say what spikes lose."""
    settings, found = documents[0]["settings"], documents[0]["results"]
    text = []
    for data, one in found.items():
        points, calibrated = one["points"], one["settings"]["calibrated_timesteps"]
        shown = [
            p
            for p in points
            if p["kind"] != "spikes"
            or p["chosen"]
            or (p["margin"] is None and p["timesteps"] in (*SHOWN, calibrated) and p["reset"] == "subtract")
            or (p["margin"] is None and p["timesteps"] == calibrated)
        ]
        rows = [
            [
                p["name"].removeprefix("spikes, "),
                f"{p['timesteps']:.0f}" if p["timesteps"] else "",
                f"{100 * p['accuracy']:.2f} %",
                rounded(p["workload"]["effective_macs"] / 1e6),
                rounded(p["workload"]["effective_acs"] / 1e6),
                rounded(p["workload"]["neuron_updates"] / 1e6),
                f"{p['workload']['activation_sparsity']:.3f}",
                rounded(p["energy_nj"] / 1000),
            ]
            for p in shown
        ]
        numbers = next(p for p in points if p["kind"] == "numbers")
        apart = {
            p["reset"]: f"{100 * (p['accuracy'] - numbers['accuracy']):+.2f} (reset {p['reset']})"
            for p in points
            if p["kind"] == "spikes" and p["margin"] is None and p["timesteps"] == calibrated
        }
        columns = [
            "timesteps",
            "accuracy",
            "M MACs",
            "M ACs",
            "M updates",
            "activation sparsity",
            "µJ, estimate",
        ]
        width = layers(one["settings"]["widths"])
        text.append(table([f"{DATA.get(data, data)}, {width}, `{one['settings']['variant']}`", *columns], rows))
        text.append(
            wrapped(
                f"Spikes after {calibrated} timesteps, in points from model.onnx: {listed(list(apart.values()))}. "
                f"{100 * numbers['workload']['active_share']:.1f} % of the units are active. "
                f"{one['settings']['epochs']} epochs a layer, one seed, {_test_rows(one)} test images; margins were "
                "chosen on held-out rows."
            )
        )
    return "\n\n".join(
        [*text, wrapped(f"Operations of a sample, all classes together; `{_spikes_command(settings)}`.")]
    )


def _test_rows(one: Any) -> str:
    rows = one["settings"]["rows"]
    return f"the first {rows:,}" if rows else "all"


def _spikes_command(settings: Any) -> str:
    """Return the command with the words that differ from its defaults."""
    words = "" if settings["data"] == ["mnist", "fashion-mnist"] else f" --data {' '.join(settings['data'])}"
    words += "" if settings["epochs"] == 15 else f" --epochs {settings['epochs']}"
    words += "" if settings["rows"] is None else f" --rows {settings['rows']}"
    return f"{COMMANDS['spikes']}{words}"
