"""ffedge monitor: a line when drift begins and ends."""

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ffedge import json_text
from ffedge.cli.parser import Parser, argument, flag, shared, whole
from ffedge.cli.predict import add_files, blocks, from_stdin, small_predictor
from ffedge.cli.stop import Stop

if TYPE_CHECKING:
    from ffedge.predict.monitor import Drift, Monitor
    from ffedge.predict.predictor import Prediction, Predictor


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "model", "A model.onnx.")
    add_files(parser)
    flag(parser, "--window", "Samples that the averages reach back.", whole(1), default=500)
    rare = "Least mean number of samples to a false alarm."
    flag(parser, "--false-alarm-every", rare, whole(1), default=1_000_000)
    shared(parser, "--resize", "--invert", "--strict", "--threads")
    flag(parser, "--json", "Print a JSON document a line.")


def run(options: Namespace) -> None:
    """Watch goodness, margin and the share of known answers, and say when they depart from the held-out rows'.

    A line when drift begins, with the reasons, and one when it ends; one for an odd sample, such as NaN or a sensor's
    mark for an error, or for the first of several in a row; at the end of the input, what the averages are.
    """
    stdin = from_stdin(options)
    from ffedge.errors import ModelError
    from ffedge.pages import release_libraries

    with Stop() as stop:
        predictor = small_predictor(options.model, options.threads)
        if predictor.calibration is None:
            raise ModelError(f"{options.model}: holds no calibration. Train with --holdout, or use ffedge.recalibrate")
        from ffedge.predict.monitor import Monitor

        monitor = Monitor(predictor.calibration, window=options.window, false_alarm_every=options.false_alarm_every)
        parts = _of_stdin(predictor, stop, options) if stdin else _of_files(predictor, stop, options)
        try:
            before = -1  # the last sample that was odd
            for part in parts:
                for row, why in part.odd.items():
                    sample = monitor.samples + row + 1
                    if sample != before + 1:
                        _tell_odd(sample, why, as_json=options.json)
                    before = sample
                for event in monitor.update(part):
                    _tell(event, as_json=options.json)
        finally:
            _sum_up(monitor, as_json=options.json)
    release_libraries()  # the end of the process touches other code than its work


def _of_stdin(predictor: "Predictor", stop: Stop, options: Namespace) -> Iterator["Prediction"]:
    import sys

    from ffedge.cli.lines import complain, read_lines

    for line in read_lines(sys.stdin.buffer, predictor.facts, stop):
        if line.sample is None:
            complain(line, strict=options.strict)
        else:
            yield predictor.predict(line.sample)


def _of_files(predictor: "Predictor", stop: Stop, options: Namespace) -> Iterator["Prediction"]:
    stop.busy = True
    for _, _, inputs in blocks(predictor.facts, options):
        if stop():
            return
        yield predictor.predict(inputs)


def _tell(event: "Drift", *, as_json: bool) -> None:
    if as_json:
        about = {"reasons": list(event.reasons)} if event.began else {}
        told = {"event": "drift" if event.began else "end of drift", "sample": event.sample}
        print(json_text.text(told | about), flush=True)
    elif event.began:
        print(f"sample {event.sample}: drift: {'; '.join(event.reasons)}", flush=True)
    else:
        print(f"sample {event.sample}: end of drift", flush=True)


def _tell_odd(sample: int, why: str, *, as_json: bool) -> None:
    if as_json:
        print(json_text.text({"event": "odd", "sample": sample, "why": why}), flush=True)
    else:
        print(f"sample {sample}: odd: {why}", flush=True)


def _sum_up(monitor: "Monitor", *, as_json: bool) -> None:
    found = monitor.summary()
    if not monitor.samples:  # of which there is nothing to say
        print(json_text.text({"event": "end of input", "samples": 0}) if as_json else "0 samples", flush=True)
        return
    if as_json:
        print(json_text.text({"event": "end of input", **found}), flush=True)
        return
    averages = [
        f"{name} {of['average']:.3g} (held-out rows {of['held_out']:.3g})"
        for name, of in found.items()
        if isinstance(of, dict)
    ]
    samples = f"{found['samples']} samples, {'drift' if found['drifting'] else 'no drift'}"
    print(f"{samples}{', {} odd'.format(found['odd']) if found['odd'] else ''}: {', '.join(averages)}")
