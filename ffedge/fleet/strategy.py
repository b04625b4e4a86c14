"""Flower's federated averaging with ffedge's average and checks, whole models or one layer a round."""

import math
import random
import time
from collections.abc import Iterable
from logging import INFO, WARNING
from pathlib import Path

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from flwr.supercore import log

from ffedge.errors import FfedgeError, one_line
from ffedge.files import atomic_file
from ffedge.fleet.messages import ARRAYS, CONFIG, HELD_OUT, MEASURES, METRICS, ROWS, packed, unpacked
from ffedge.fleet.rounds import Round, Update, layer_bytes, merged_round
from ffedge.learning.average import MOST_NORM, Method
from ffedge.learning.classes import learnt_more
from ffedge.learning.kin import kind_of
from ffedge.model.file import Model
from ffedge.model.write import write_model


class Fleet(FedAvg):  # type: ignore[misc]  # flwr is not installed where types are checked
    """Sends layers, averages what boards made of them, and writes the model after every round.

    Parameters
    ----------
    model : the file that all boards began from; `out` takes its place as soon as a round is done.
    out : the file to write.
    rounds : how many there will be: the rate falls to zero over them.
    one_layer : whether one layer learns in a round, the next one in the next; else all do.
    boards : least that must be there, and the share of those there that is asked in a round.
    wait_s : how long to wait for them.
    """

    def __init__(
        self,
        model: Path,
        out: Path,
        *,
        rounds: int,
        one_layer: bool = False,
        method: Method = "mean",
        most_norm: float = MOST_NORM,
        epochs: int = 1,
        boards: int = 2,
        share: float = 1.0,
        wait_s: float = 300.0,
    ) -> None:
        super().__init__(
            fraction_train=share, fraction_evaluate=0.0, min_train_nodes=boards, min_available_nodes=boards
        )
        self._model, self._out, self._wait_s = Model(model), out, wait_s
        self._model.check_learns()
        self._recipe, self._facts = self._model.recipe, self._model.facts
        self._count, self._rounds, self._one_layer = len(self._recipe.network.widths), rounds, one_layer
        self._method, self._most_norm, self._epochs = method, most_norm, epochs
        self._layers = [self._model.layer(index) for index in range(self._count)]
        self._begun, self._fingerprint = self._model.fingerprint(), self._model.fingerprint()
        self._has: dict[int, set[int]] = {}  # the layers that each board has as the server has them
        self._asked: list[int] = []
        self._sent_bytes = self.learnt_rows = 0

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send each board the layers that it has not, and the words of the round."""
        which = [(server_round - 1) % self._count] if self._one_layer else list(range(self._count))
        rates = [self._recipe.train.layer_rate(index) for index in range(self._count)]
        share, self._asked, self._sent_bytes = 1.0 - (server_round - 1) / self._rounds, which, 0
        words = ConfigRecord(
            {
                "layers": which,
                "kind": kind_of(self._recipe, self._facts),
                "fingerprint": self._fingerprint,
                "epochs": self._epochs,
                "rate": [share * rate for rate in rates],
            }
        )
        messages = []
        for node in self._sampled(grid):
            layers = {i: self._layers[i] for i in range(self._count) if i not in self._has.get(node, set())}
            self._has[node] = set()  # until it answers
            self._sent_bytes += sum(map(layer_bytes, layers.values()))
            content = RecordDict({ARRAYS: packed(layers), CONFIG: words})
            messages.append(Message(content, dst_node_id=node, message_type=MessageType.TRAIN))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the updates that pass the checks; write the model; tell what each board measured, in the mean."""
        updates, measured, received = [], {}, 0
        for reply in replies:
            node = reply.metadata.src_node_id
            if reply.has_error():
                log(WARNING, "board %d: %s", node, one_line(str(reply.error.reason)))
                continue
            try:
                metrics = dict(reply.content[METRICS])
                update = Update(str(node), unpacked(reply.content[ARRAYS]), metrics[ROWS])
            except Exception as error:  # whatever a stranger's message makes of it
                log(WARNING, "board %d: sent no update (%s)", node, one_line(str(error)))
                continue
            received += sum(map(layer_bytes, update.layers.values()))
            if set(update.layers) != set(self._asked):
                log(WARNING, "board %d: sent other layers than it was asked for", node)
                continue
            updates.append(update)
            measured[update.name] = metrics
            self._has[node] = set(range(self._count)) - set(self._asked)
        done = merged_round(self._recipe, self._facts, self._layers, updates, self._method, self._most_norm)
        for name, why in done.left_out.items():
            log(WARNING, "board %s: does not count, as %s", name, why)
        if done.merged:
            self._take(done, server_round)
        else:
            log(WARNING, "round %d: %d boards count, too few: the model stays as it was", server_round, len(done.rows))
        travelled = {"bytes-down": self._sent_bytes, "bytes-up": received, "boards": len(done.rows)}
        log(INFO, "round %d: %d boards, %.2f MB down, %.2f MB up", server_round, len(done.rows), *(
            n / 1e6 for n in (self._sent_bytes, received)))  # fmt: skip
        return packed(dict(enumerate(self._layers))), MetricRecord(
            travelled | _means([measured[name] for name in done.rows])
        )

    def _take(self, done: Round, server_round: int) -> None:
        """Take a round's layers, and write them as a model."""
        self._layers = done.layers
        for has in self._has.values():
            has -= set(self._asked)
        self.learnt_rows += sum(done.rows.values())
        time_ = {"name": f"a fleet, {server_round} rounds", "rows": self.learnt_rows, "from": self._begun}
        about = self._model.metadata | learnt_more(self._model.metadata, time_)
        with atomic_file(self._out) as temporary:
            write_model(temporary, self._recipe, self._facts, self._layers, about, self._model.calibration)
            self._fingerprint = Model(temporary, str(self._out)).fingerprint()

    def _sampled(self, grid: Grid) -> list[int]:
        """Return the boards of a round, once enough are there.

        Raises
        ------
        FfedgeError
            They are not, in time.
        """
        until = time.monotonic() + self._wait_s
        while len(nodes := sorted(grid.get_node_ids())) < self.min_available_nodes:
            if time.monotonic() > until:
                raise FfedgeError(
                    f"{len(nodes)} of {self.min_available_nodes} boards are there after {self._wait_s:g} s. Start "
                    "their SuperNodes, or ask for fewer boards"
                )
            time.sleep(1)
        return random.sample(nodes, max(self.min_train_nodes, int(len(nodes) * self.fraction_train)))


def _means(measured: list[dict[str, float]]) -> dict[str, float]:
    """Return the means of what boards measured, each counted by its held-out rows; nothing else that they sent."""
    sound = [
        board
        for board in measured
        if all(isinstance(board.get(name), float) and math.isfinite(board[name]) for name in (*MEASURES, HELD_OUT))
        and 0 < board[HELD_OUT] < 1e9
    ]
    rows = sum(board[HELD_OUT] for board in sound)
    return {name: sum(board[HELD_OUT] * board[name] for board in sound) / rows for name in MEASURES} if sound else {}
