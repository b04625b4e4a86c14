"""Measures one arm: ``python -m ffedge.compare`` answers one request (see `ffedge.compare.child`)."""

from typing import Any

from ffedge.compare.child import serve
from ffedge.compare.load import Others


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do a ``task``: measure the memory or the speed of the arm ``arm`` doing ``work``, or a part of an inference.

    Beside what was measured stands ``others_cores``: how many cores other work kept busy meanwhile.
    """
    others = Others()
    measured = _measured(request)
    return dict(measured, others_cores=others.cores())


def _measured(request: dict[str, Any]) -> Any:
    if request["task"] == "inference":
        from ffedge.compare import inference

        return inference.answer(request)

    from ffedge.compare import memory, speed
    from ffedge.compare.arms import ARMS, Work

    work: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in request["work"].items()
    }
    task = {"memory": memory, "speed": speed}[request["task"]]
    return task.measure(ARMS[request["arm"]], Work(**work))


if __name__ == "__main__":
    serve(answer)
