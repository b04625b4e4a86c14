"""Measures one arm: ``python -m ffedge.compare`` answers one request (see `ffedge.child`)."""

from typing import Any

from ffedge.child import serve


def answer(request: dict[str, Any]) -> Any:
    """Do a ``task``: measure the memory or the speed of the arm ``arm`` doing ``work``, or a part of an inference."""
    if request["task"] == "inference":
        from ffedge.compare.inference_arms import answer as answer_inference

        return answer_inference(request)

    from ffedge.compare.arms import ARMS, Work

    work: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in request["work"].items()
    }
    arm = ARMS[request["arm"]]
    if request["task"] == "memory":
        from ffedge.compare.measure import measure

        return measure(arm, Work(**work))

    from ffedge.compare.curve import measure_curve

    return measure_curve(arm, Work(**work))


if __name__ == "__main__":
    serve(answer)
