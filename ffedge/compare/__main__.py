"""Measures one arm: ``python -m ffedge.compare`` answers one request (see `ffedge.child`)."""

from typing import Any

from ffedge.child import serve


def answer(request: dict[str, Any]) -> Any:
    """Measure the arm ``arm`` doing ``work``."""
    from ffedge.compare.arms import ARMS, Work
    from ffedge.compare.measure import measure

    work: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in request["work"].items()
    }
    return measure(ARMS[request["arm"]], Work(**work))


if __name__ == "__main__":
    serve(answer)
