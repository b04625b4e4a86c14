"""The part of a fleet's Flower app that runs beside the SuperLink; its settings stand in the app's pyproject.toml."""

from pathlib import Path

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp

from ffedge.fleet.settings import checked
from ffedge.fleet.strategy import Fleet

app = ServerApp()


@app.main()  # type: ignore[untyped-decorator]  # as of flwr in strategy.py
def main(grid: Grid, context: Context) -> None:
    """Run the rounds; the model stands in `out` after each of them."""
    chosen = checked(context.run_config)
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
