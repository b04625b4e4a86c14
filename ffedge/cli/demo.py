"""ffedge demo."""

from argparse import Namespace
from pathlib import Path

from ffedge.cli.parser import PORT, Parser, Plays, argument, flag, shared
from ffedge.cli.stop import Stop


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "model", "A model.onnx, which stays as it is unless --save names it.")
    flag(parser, "--port", "Of this machine, which nobody else reaches; 0 takes a free one.", PORT, default=8000)
    flag(parser, "--save", "Write here what has learnt, after each correction.", Path, metavar="FILE")
    flag(parser, "--force", "Replace that file.", plays=Plays(only_with=("save",)))
    shared(parser, "--threads")


def run(options: Namespace) -> None:
    """Serve a page on this machine that asks a model: draw, choose a picture, or fill in the columns of a table.

    It shows the probabilities and each layer's goodness, takes corrections, and shows how the model takes them up. What
    it learns is in memory alone, unless --save says where to write it. Ctrl-C ends it.
    """
    import threading

    from ffedge.page.demo import Demo

    with (
        Stop(),
        Demo(options.model, options.save, force=options.force, threads=options.threads).site(options.port) as site,
    ):
        print(f"{site.url} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
