"""Measures one arm: ``python -m ffedge.compare`` answers one request (see `ffedge.compare.child`)."""

from typing import Any

from ffedge.compare.child import serve


def answer(request: dict[str, Any]) -> Any:
    """Do a ``task``: measure the memory or the speed of the arm ``arm`` doing ``work``, or a part of an inference."""
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
