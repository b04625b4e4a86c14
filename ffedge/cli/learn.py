"""ffedge learn."""

import dataclasses
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from ffedge.cli import fail
from ffedge.cli.commands import with_flags
from ffedge.cli.parser import NUMBER, Parser, Plays, argument, check_data_dir, flag, shared
from ffedge.cli.reading_flags import add_skip_broken, reading_of
from ffedge.cli.spec_flags import add_spec_flags, changes, reader
from ffedge.cli.stop import Stop
from ffedge.cli.train import MIB, SIZE
from ffedge.errors import StoppedError
from ffedge.spec import Spec

if TYPE_CHECKING:
    from ffedge.learning.result import Learning


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "model", "A model.onnx, which is replaced; the old one stays beside it.")
    flag(parser, "--data", "New rows: a data set, of which the train split is taken.", str)
    shared(parser, "--label")
    added = "A class that the model is to know, too; may be repeated."
    flag(parser, "--add-class", added, str, default=[], dest="add_classes", metavar="NAME", action="append")
    flag(parser, "--add-new", "Add every class of the rows that the model does not know.")
    flag(parser, "--layers", "The layers that learn. (default: all)", reader(tuple[int, ...]))
    kept = "Room for kept examples beside the model; 0 keeps none."
    flag(parser, "--keep-examples", kept, SIZE, default="4MiB", dest="kept_bytes")
    flag(parser, "--replay-share", "Share of kept examples in each batch, against forgetting.", NUMBER, default=0.5)
    back = "Share of the way back to where it stood that each weight goes after a step; 1: only added classes learn."
    flag(parser, "--anchor", back, NUMBER, default=0.0)
    taken = "Rows to take kept examples from, too: what the model learnt from before."
    flag(parser, "--replay-from", taken, str, metavar="DATA")
    most = "Refuse to replace the model where held-out accuracy falls by more than this."
    flag(parser, "--max-drop", most, NUMBER, default=0.01)
    flag(parser, "--force", "Learn although kept examples of a class are missing, and nothing shows what is forgotten.")
    add_skip_broken(parser)
    flag(parser, "--rollback", "Put the model back that was replaced last; learn nothing.", plays=Plays(alone=True))
    shared(parser, "--data-dir")
    flag(parser, "--json", "Print one JSON document.")
    learns = {name for name, option in Spec.options().items() if option.learns}
    add_spec_flags(parser, learns, stored=True)


def run(options: Namespace) -> int:
    """Go on training from a model file alone, on new rows, without forgetting the old ones; or undo it."""
    if options.rollback:
        from ffedge.learning.files import roll_back

        print(f"model {roll_back(options.model)} is the one before")
        return 0
    if options.data is None:
        raise ValueError("learn needs --data, the new rows, or --rollback")
    check_data_dir(options, options.data, options.replay_from)
    with Stop(busy=True) as stop:
        try:
            learnt = _learn(options, stop)
        except StoppedError as error:
            return fail(str(error), 128 + stop.number, "learn")
    if learnt.odd:
        print(f"ffedge: {learnt.odd}", file=sys.stderr)
    if options.json:
        refused = learnt.refused and with_flags(learnt.refused, "learn")
        print(dataclasses.replace(learnt, refused=refused).to_json())
    elif learnt.accepted:
        _print_learning(learnt)
    return fail(learnt.refused, 1, "learn") if learnt.refused else 0


def _learn(options: Namespace, stop: Stop) -> "Learning":
    from ffedge.learning.learn import learn
    from ffedge.training.shown import progress

    with progress() as watcher:
        return learn(
            options.model,
            options.data,
            add_classes=options.add_classes,
            add_new=options.add_new,
            layers=options.layers,
            replay_share=options.replay_share,
            replay_from=options.replay_from,
            kept_bytes=options.kept_bytes,
            max_drop=options.max_drop,
            force=options.force,
            anchor=options.anchor,
            data_dir=options.data_dir,
            label=options.label,
            reading=reading_of(options),
            watcher=watcher,
            stop=stop,
            **changes(options),
        )


def _print_learning(learnt: "Learning") -> None:
    """Print accuracy before and after, and what it took."""
    for what, held in (("new rows, held out", learnt.new), ("kept examples", learnt.kept)):
        if held.before is not None and held.after is not None:
            change = f"{100 * held.before:6.2f} % -> {100 * held.after:6.2f} %"
            print(f"{what:18s} {change} of {held.rows:,}")
    if learnt.unchecked:
        print(f"not checked: no kept examples of {len(learnt.unchecked)} classes; what it forgot of them is not known")
    print(f"learnt from {learnt.rows:,} new rows and {learnt.kept_rows:,} kept examples")
    if learnt.classes_added:
        print(f"new classes: {', '.join(learnt.classes_added)}")
    peak, imports = learnt.rss_peak_bytes / MIB, learnt.import_bytes / MIB
    print(f"{learnt.seconds:.1f} s, peak {peak:.0f} MiB ({imports:.0f} imports)")
    print(f"model {learnt.model}; the one before is {learnt.previous} (--rollback puts it back)")
