"""The part of a fleet's Flower app that runs on a board.

The board's own settings are its SuperNode's node config: ``model``, its model file, and ``data``, its rows (as of
`ffedge.learn`). The server cannot name other files.
"""

from pathlib import Path

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from ffedge.errors import FfedgeError
from ffedge.fleet.board import board_round
from ffedge.fleet.messages import ARRAYS, CONFIG, METRICS, ROWS, packed, unpacked

app = ClientApp()


@app.train()  # type: ignore[untyped-decorator]  # as of flwr in strategy.py
def train(message: Message, context: Context) -> Message:
    """Take the server's layers, learn from the board's rows, and send back the layers that learnt."""
    config, node = message.content[CONFIG], context.node_config
    if lacking := [name for name in ("model", "data") if name not in node]:
        raise FfedgeError(f"the SuperNode's node config must name the board's {lacking[0]}. Start it with that")
    update, measures = board_round(
        Path(str(node["model"])),
        str(node["data"]),
        unpacked(message.content[ARRAYS]),
        config["layers"],
        kind=config["kind"],
        wanted=config["fingerprint"],
        epochs=config["epochs"],
        rate=tuple(config["rate"]),
    )
    content = {ARRAYS: packed(update.layers), METRICS: MetricRecord({ROWS: update.rows, **measures})}
    return Message(RecordDict(content), reply_to=message)
