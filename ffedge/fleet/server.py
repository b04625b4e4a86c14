"""The part of a fleet's Flower app that runs beside the SuperLink; its settings stand in the app's pyproject.toml."""

from pathlib import Path

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp

from ffedge.errors import FfedgeError
from ffedge.fleet.strategy import Fleet
from ffedge.learning.average import METHODS

app = ServerApp()
SETTINGS = {  # of [tool.flwr.app.config], with their defaults
    "model": "model.onnx",
    "out": "fleet.onnx",
    "rounds": 10,
    "layers": "all",
    "method": "mean",
    "most-norm": 10.0,
    "epochs": 1,
    "boards": 2,
    "share": 1.0,
    "wait-s": 300.0,
    "timeout-s": 600.0,
}


@app.main()  # type: ignore[untyped-decorator]  # as of flwr in strategy.py
def main(grid: Grid, context: Context) -> None:
    """Run the rounds; the model stands in `out` after each of them."""
    if unknown := sorted(set(context.run_config) - set(SETTINGS)):
        raise FfedgeError(f"pyproject.toml: {unknown[0]} is no setting of a fleet. Use {', '.join(SETTINGS)}")
    chosen = SETTINGS | context.run_config
    for name, allowed in (("layers", ("all", "one")), ("method", METHODS)):
        if chosen[name] not in allowed:
            raise FfedgeError(f"pyproject.toml: {name} must be {' or '.join(allowed)}, got {chosen[name]!r}")
    for name, least in (("rounds", 1), ("epochs", 1), ("boards", 1), ("share", 0), ("wait-s", 0), ("timeout-s", 0)):
        if not isinstance(chosen[name], int | float) or chosen[name] < least:
            raise FfedgeError(f"pyproject.toml: {name} must be a number from {least}, got {chosen[name]!r}")
    strategy = Fleet(
        Path(chosen["model"]),
        Path(chosen["out"]),
        rounds=chosen["rounds"],
        one_layer=chosen["layers"] == "one",
        method=chosen["method"],
        most_norm=float(chosen["most-norm"]),
        epochs=chosen["epochs"],
        boards=chosen["boards"],
        share=float(chosen["share"]),
        wait_s=float(chosen["wait-s"]),
    )
    strategy.start(grid, ArrayRecord(), num_rounds=chosen["rounds"], timeout=float(chosen["timeout-s"]))
