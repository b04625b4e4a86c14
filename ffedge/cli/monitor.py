"""ffedge monitor: a line when drift begins and ends."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ffedge.cli.predict import ROWS, small_predictor
from ffedge.cli.words import Argument, Flag

if TYPE_CHECKING:
    from ffedge.cli.lines import Stop
    from ffedge.runtime import Prediction, Predictor
    from ffedge.runtime.monitor import Drift, Monitor


def command(
    model: Annotated[Path, Argument("A model.onnx.")],
    files: Annotated[
        list[Path], Argument("PNG, JPEG, .npy, .npz or IDX files; or - for a JSON sample a line on stdin.")
    ],
    window: Annotated[int, Flag("--window", "Samples that the averages reach back.", least=1)] = 500,
    false_alarm_every: Annotated[
        int, Flag("--false-alarm-every", "Least mean number of samples to a false alarm.", metavar="N", least=1)
    ] = 1_000_000,
    resize: Annotated[bool, Flag("--resize", "Bring images to the model's size.")] = False,
    invert: Annotated[bool, Flag("--invert", "Swap black and white of images.")] = False,
    strict: Annotated[bool, Flag("--strict", "End at the first line of stdin that cannot be used.")] = False,
    threads: Annotated[int, Flag("--threads", "0 takes all cores.", least=0)] = 0,
    as_json: Annotated[bool, Flag("--json", "Print a JSON document a line.")] = False,
) -> None:
    """Watch goodness, margin and the share of known answers, and say when they depart from the held-out rows'.

    A line when drift begins, with the reasons, and one when it ends; at the end of the input, what the averages are.
    """
    if Path("-") in files and len(files) > 1:
        raise ValueError("- must stand alone: samples come from stdin or from files")
    from ffedge.cli.lines import Stop
    from ffedge.errors import ModelError

    with Stop() as stop:
        predictor = small_predictor(model, threads)
        if predictor.calibration is None:
            raise ModelError(f"{model}: holds no calibration. Train with --holdout, or use ffedge.recalibrate")
        from ffedge.runtime.monitor import Monitor

        monitor = Monitor(predictor.calibration, window=window, false_alarm_every=false_alarm_every)
        if files == [Path("-")]:
            found = _of_stdin(predictor, stop, strict=strict)
        else:
            found = _of_files(predictor, files, stop, resize=resize, invert=invert)
        try:
            for part in found:
                for event in monitor.update(part):
                    _tell(event, as_json=as_json)
        finally:
            _sum_up(monitor, as_json=as_json)


def _of_stdin(predictor: "Predictor", stop: "Stop", *, strict: bool) -> Iterator["Prediction"]:
    import sys

    from ffedge.cli.lines import complain, read_lines

    for line in read_lines(sys.stdin.buffer, predictor.facts, stop):
        if line.sample is None:
            complain(line, strict=strict)
        else:
            yield predictor.predict(line.sample)


def _of_files(
    predictor: "Predictor", files: list[Path], stop: "Stop", *, resize: bool, invert: bool
) -> Iterator["Prediction"]:
    import numpy as np

    from ffedge.data import read_inputs

    facts = predictor.facts
    stop.busy = True
    for path in files:
        source = read_inputs(path, facts.shape, facts.dtype, resize=resize, invert=invert)
        for start in range(0, len(source), ROWS):
            if stop.asked:
                return
            yield predictor.predict(source.take(np.arange(start, min(start + ROWS, len(source)))))


def _tell(event: "Drift", *, as_json: bool) -> None:
    if as_json:
        about = {"reasons": list(event.reasons)} if event.began else {}
        print(
            json.dumps({"event": "drift" if event.began else "end of drift", "sample": event.sample} | about),
            flush=True,
        )
    elif event.began:
        print(f"sample {event.sample}: drift: {'; '.join(event.reasons)}", flush=True)
    else:
        print(f"sample {event.sample}: end of drift", flush=True)


def _sum_up(monitor: "Monitor", *, as_json: bool) -> None:
    found = monitor.summary()
    if as_json:
        print(json.dumps({"event": "end of input", **found}), flush=True)
        return
    averages = [
        f"{name} {of['average']:.3g} (held-out rows {of['held_out']:.3g})"
        for name, of in found.items()
        if isinstance(of, dict)
    ]
    print(f"{found['samples']} samples, {'drift' if found['drifting'] else 'no drift'}: {', '.join(averages)}")
