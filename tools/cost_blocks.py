"""The blocks on what networks cost: memory, time, bytes, latency, kills."""

import statistics
from collections.abc import Sequence
from typing import Any

from backprop import crossover
from class_goodness import KINDS
from results import COMMANDS, only, points
from wording import DATA, MIB, counted, layers, percent, rounded, span, spread, table

from ffedge.compare.runner import ratios

OURS, THEIRS = "ffedge-interleaved", "backprop"
TRAINERS = {  # arms of bench/epoch_arms.py
    OURS: "**ffedge `ff`, tuned preset**",
    "ffedge-same-rule": "ffedge, mpezeshki's rule",
    "ffedge-as-shipped": "`ffedge train` as it comes",
    "fflib": "fflib",
    "mpezeshki": "mpezeshki's net, minibatched",
    THEIRS: "backprop, torch, Adam",
    "backprop-fused": "the same, fused Adam",
    "sklearn": "backprop, scikit-learn, Adam",
}
CONVOLUTIONS = {  # arms of bench/conv_arms.py
    "ffedge-greedy": "ffedge, as it comes",
    "ffedge-interleaved": "ffedge, all layers at once",
    "ffedge-stored-8": "ffedge, stored statistics, 8 pictures at once",
    "ffedge-stored-1": "the same, one at once",
    "backprop": "backprop, torch",
    "backprop-micro-8": "backprop, frozen statistics, micro-batches of 8",
    "backprop-micro-1": "the same, of 1",
}
DEEP = {  # arms of bench/depth_arms.py
    "groups": "**ffedge, `groups`, activities kept**",
    "groups-again": "the same, layers below run again",
    "groups-interleaved": "ffedge, `groups`, interleaved",
    "readout": "ffedge, `readout`, activities kept",
    "tried": "ffedge, `tried`, activities kept",
    "backprop-residual": "backprop, batch norm and skips, torch",
    THEIRS: "backprop, torch",
}
FORMS = {  # of `ffedge export --form`
    "model": "model.onnx as trained",
    "exact": "`exact`",
    "pruned": "`pruned`",
    "head": "`head`",
    "int8": "`int8`",
    "pruned-int8": "`pruned-int8`",
    "head-int8": "`head-int8`",
}
PREDICTORS = {  # arms of bench/predict_latency.py
    "ffedge-session": "**model.onnx in onnxruntime**",
    **{f"ffedge-{name}": f"its form {text}" for name, text in FORMS.items() if name != "model"},
    "ffedge-predictor": "`ffedge.Predictor`",
    "torch-passes": "the same weights in torch, a pass a label",
    "torch-stacked": "the same, all labels in one pass",
    "backprop-ort": "a backprop MLP in onnxruntime",
}
HTTP_FIGURES = ((1, "requests_per_s"), (1e3, "p50_s"), (1e3, "p99_s"))
COMPARED = {  # arms of bench/backprop.py
    "ffedge-ff-adam": "ffedge `ff`, Adam",
    "backprop-adam": "backprop, Adam",
    "backprop-adam-hook": "stepped in the hook",
    "backprop-adam-ort-inplace": "in onnxruntime",
    "backprop-sgd": "backprop, SGD",
}
MEMORY_ROWS = (("memory-depth", 2), ("memory-4x500", None), ("memory-depth", 32), ("memory-8x2000", None))
MEMORY = tuple(dict.fromkeys(name for name, _ in MEMORY_ROWS))
Results = Sequence[Any]


def machine(*results: Results) -> str:
    """Tabulate on what was measured, with which versions."""
    machines: dict[str, dict[str, list[str]]] = {}
    for name, documents in zip(COMMANDS, results, strict=True):
        for document in documents:
            m = document["machine"]
            place = f"{m['cores']} cores of an {m['processor']} ({m['architecture']})"
            cells = machines.setdefault(place, {key: [] for key in (*VERSIONS, "results")})
            cells["results"].append(f"`{name}`")
            for package in VERSIONS:
                cells[package] += [version] if (version := document["versions"].get(package)) else []
    rows = [
        [place, *(", ".join(dict.fromkeys(cell)) or "-" for cell in cells.values())]
        for place, cells in machines.items()
    ]
    return table(["machine", *VERSIONS, "results"], rows)


VERSIONS = ("onnxruntime", "torch", "fflib", "scikit-learn")


def memory(*results: Results) -> str:
    """Tabulate peaks of networks by arms."""
    found = dict(zip(MEMORY, map(points, results), strict=True))
    rows = []
    for name, value in MEMORY_ROWS:
        point = next(point for point in found[name] if point["value"] == value)
        arms = {runs[0]["arm"]: runs for runs in point["runs"]}
        rows.append([layers(point["work"]["widths"]), *(_peak(arms.get(arm)) for arm in COMPARED)])
    work = found[MEMORY[0]][0]["work"]
    caption = f"Peak MiB over imports (whole process), batch {work['batch_size']}, {work['threads']} threads"
    return table(["", *COMPARED.values()], rows, caption, *MEMORY)


def _peak(runs: Results | None) -> str:
    if runs is None:
        return "not run"
    whole = statistics.median(run["rss_peak_bytes"] for run in runs) / MIB
    return f"{spread(run['peak_over_imports_bytes'] / MIB for run in runs)} ({whole:.0f})"


def memory_depth(documents: Results) -> str:
    """Tabulate median peaks by depth, and from which depth on ffedge's is the lower one."""
    sweep = points(documents)
    own, rows = next(iter(COMPARED)), []
    for arm, name in COMPARED.items():
        peaks = [next(m for m in p["measures"] if m["arm"] == arm)["peak_over_imports_bytes"] for p in sweep]
        below = "-" if arm == own else _depth(crossover(sweep, own, arm))
        rows.append([name, *(f"{peak / MIB:.1f}" for peak in peaks), below])
    columns = ["layers", *(str(point["value"]) for point in sweep), "ffedge below from"]
    return table(columns, rows, "Peak MiB over imports", "memory-depth")


def _depth(depth: float | None) -> str:
    return "nowhere" if depth is None else rounded(depth, 2)


def depth_time(documents: Results) -> str:
    """Tabulate time beside backprop's within a round, peak and accuracy of deep networks, by arms and depths."""
    settings, results = only(documents)
    rows = []
    for arm in (arm for arm in DEEP if arm in settings["arms"]):
        cells = []
        for depth in settings["depths"]:
            runs, beside = ([r for r in results if (r["name"], r["depth"]) == (a, depth)] for a in (arm, THEIRS))
            times = spread(a["processor_s"] / b["processor_s"] for a, b in zip(runs, beside, strict=True))
            peak = statistics.median(run["rss_peak_bytes"] for run in runs) / MIB
            reached = 100 * statistics.mean(run["test_accuracy"] for run in runs)
            cells.append(f"{times}; {peak:.0f} MiB; {reached:.1f} %")
        rows.append([DEEP[arm], *cells])
    head = "processor seconds beside backprop's; peak of the process; test accuracy"
    caption = (
        f"{DATA[settings['data']]}, {settings['rows']} training rows, layers of {settings['width']}, batch 256, "
        f"{settings['epochs']} epochs (of each layer), {counted(settings['threads'], 'thread')}; "
        f"{counted(settings['rounds'], 'round')}, median [least, greatest]"
    )
    return table([head, *(counted(depth, "layer") for depth in settings["depths"])], rows, caption, "depth-time")


def conv_memory(documents: Results) -> str:
    """Tabulate peaks and seconds of training convolutions by arms."""
    settings, results = only(documents)
    rows = []
    for arm, name in CONVOLUTIONS.items():
        imports, peak, seconds = (results[arm][key] for key in ("import_bytes", "rss_peak_bytes", "seconds"))
        over = spread((p - i) / MIB for p, i in zip(peak, imports, strict=True))
        rows.append([name, over, f"{statistics.median(peak) / MIB:.0f}", spread(seconds)])
    caption = (
        f"{settings['widths']} on 32 x 32 x 3 pixels, batch {settings['batch_size']}, Adam, one thread, an epoch of "
        f"{settings['rows']} rows; median [least, greatest] of "
        f"{counted(settings['rounds'], 'round')}, beside other work"
    )
    return table(["", "peak MiB over imports", "whole process", "s an epoch"], rows, caption, "conv-memory")


def epoch_time(documents: Results) -> str:
    """Tabulate an epoch's seconds by arms and threads, each with its ratio to backprop."""
    settings, results = only(documents)
    arms = [arm for arm in TRAINERS if arm in settings["arms"]]
    seconds = [results[f"threads_{threads}"]["epoch_s"] for threads in settings["threads"]]
    rows = [[TRAINERS[arm], *(_timed(s[arm], s[THEIRS]) for s in seconds)] for arm in arms]
    head = f"s of an epoch, batch {settings['batch_size']} (times backprop's, torch, Adam)"
    caption = f"Median of {settings['rounds']} rounds [least, greatest ratio within a round]"
    return table([head, *(counted(n, "thread") for n in settings["threads"])], rows, caption, "epoch-time")


def threads(documents: Results) -> str:
    """Tabulate how many times quicker than on one thread layers learn, by how they are spread over several."""
    settings, results = only(documents)
    rows = []
    for run in results:
        one, *others = (run["rows_per_s"][way] for way in ("one", "cut", "apart"))
        gains = [spread([a / b for a, b in zip(way, one, strict=True)]) for way in others]
        rows.append([f"`{run['network']}`, {run['class_goodness']}", *gains])
    caption = (
        f"MNIST, batch 256, all layers at once; times quicker on {settings['threads']} threads than on one, median "
        f"[least, greatest] of {settings['rounds']} rounds"
    )
    return table(["layers, class goodness", "each operation cut", "each layer on its own"], rows, caption, "threads")


def peers_memory(documents: Results) -> str:
    """Tabulate a process's peak by arms: imports, training rows held in memory, the rest."""
    settings, results = only(documents)
    rows = []
    for arm in (arm for arm in TRAINERS if arm in results):
        imports, data, peak = (results[arm][key] for key in ("import_bytes", "data_bytes", "rss_peak_bytes"))
        rest = [p - i - d for p, i, d in zip(peak, imports, data, strict=True)]
        medians = [rounded(statistics.median(part) / MIB) for part in (peak, imports, data)]
        rows.append([TRAINERS[arm], *medians, spread(part / MIB for part in rest)])
    threads, runs = counted(settings["threads"], "thread"), counted(settings["runs"], "run")
    caption = f"Batch {settings['batch_size']}, {threads}, median [least, greatest] of {runs}"
    columns = ["peak MiB while training", "whole process", "imports", "data in memory", "the rest"]
    return table(columns, rows, caption, "peers-memory")


def predict_latency(documents: Results) -> str:
    """Tabulate a call's milliseconds by arms and batch sizes, each with its ratio to the model file's."""
    settings, results = only(documents)
    sizes = results["batch_size"]
    calls = [{arm: [1e3 * s for s in rounds] for arm, rounds in of["call_s"].items()} for of in sizes.values()]
    ours = next(iter(PREDICTORS))
    rows = [[name, *(_timed(ms[arm], ms[ours]) for ms in calls)] for arm, name in PREDICTORS.items() if arm in calls[0]]
    head = f"ms a call, {counted(settings['threads'], 'thread')} (times model.onnx's)"
    caption = f"Median of {settings['rounds']} rounds [least, greatest ratio]"
    return table([head, *(f"batch {size}" for size in sizes)], rows, caption, "predict-latency")


def _timed(own: Sequence[float], other: Sequence[float]) -> str:
    """Write a median and, in brackets, the ratio to another arm's, round by round."""
    ratio = "" if own == other else f" ({spread(a / b for a, b in zip(own, other, strict=True))})"
    return f"{rounded(statistics.median(own))}{ratio}"


def forms(documents: Results) -> str:
    """Tabulate the test accuracy and the bytes of each form, what it lost, and the labels that pruned forms try."""
    settings, runs = only(documents)
    rows = []
    for form, name in FORMS.items():
        own = [run for run in runs if run["form"] == form]
        each = [percent([100 * r["test_accuracy"] for r in own if r["data_name"] == data]) for data in settings["data"]]
        tried = "none" if form.startswith("head") else "all"
        if form.startswith("pruned"):
            tried = span(run["candidates"] for run in own)
        lost = f"{max(100 * (run['lost'] or 0) for run in own):.2f}"
        rows.append([name, *each, lost, tried, f"{statistics.median(run['bytes'] for run in own) / 1e6:.2f}"])
    columns = ["form", *(DATA[data] for data in settings["data"]), "points lost, at most"]
    columns += ["labels that deeper layers try", "MB"]
    caption = f"Test accuracy after {settings['epochs']} epochs, {counted(len(settings['seeds']), 'seed')}; what is "
    return table(columns, rows, f"{caption}lost is of the held-out rows", "forms")


def class_goodness(documents: Results) -> str:
    """Tabulate what an epoch and a prediction cost by how a class is told."""
    settings, found = only(documents)
    seconds, rows = found["epoch_cpu_s"], []
    for kind in KINDS:
        over = ratios(seconds, [(kind, other) for other in ("backprop", "backprop-ort")]).values()
        each = map(statistics.median, (seconds[kind], *over))
        predictions = [_over_mlp(one, kind) for one in found["batch_size"].values()]
        rows.append([f"`{kind}`", *(f"{value:.2f}" for value in each), *predictions])
    columns = ["`--class-goodness`", f"processor s an epoch of {DATA[settings['data']]}"]
    columns += ["over backprop's in torch", "in onnxruntime"]
    columns += [f"predicting {counted(int(size), 'row')}, as trained / `exact`" for size in found["batch_size"]]
    text = "2 layers of 500, batch 256, one core, Adam; predictions over a plain MLP's; medians of the rounds"
    return table(columns, rows, text, "class-goodness")


def _over_mlp(timed: Any, kind: str) -> str:
    """Write how many times as long as a plain MLP a prediction takes, of the model and of its exact form."""
    ratios = timed["ratio_median"]
    return " / ".join(f"{1 / ratios[f'backprop-ort / ffedge-{kind}{form}']:.2f}" for form in ("", "-exact"))


def speed(documents: Results) -> str:
    """Tabulate rows a second and the seconds to given accuracies by arms."""
    (document,) = documents
    rows = [
        [
            f"`{arm['arm']}`",
            rounded(arm["rows_per_second"] / 1000),
            *("never" if to["seconds"] is None else rounded(to["seconds"]) for to in arm["time_to"]),
            f"{100 * arm['accuracy']:.1f} %",
        ]
        for arm in document["arms"]
    ]
    work = document["work"]
    columns = ["training", "1000 rows a second", *(f"s to {100 * t:g} %" for t in document["targets"]), "in the end"]
    caption = (
        f"MNIST, {layers(work['widths'])}, batch {work['batch_size']}, {counted(work['threads'], 'thread')}, at most "
        f"{work['epochs']} epochs (of each layer), on held-out rows"
    )
    return table(columns, rows, caption, "speed")


def budget(documents: Results) -> str:
    """Tabulate how budgets of drawn networks were kept, and how near the plan was."""
    _, found = only(documents)
    return _budgets({"`ffedge train`": found, "`ffedge learn`": found["learn"]}, "budget")


def budget_learner(documents: Results) -> str:
    """Tabulate the same of a Learner."""
    return _budgets({"`ffedge.Learner`": only(documents)[1]}, "budget-learner")


def _budgets(found: dict[str, Any], name: str) -> str:
    columns = ["", "drawn", "budgets kept", *(f"measured by planned peak, {n}" for n in ("least", "median", "most"))]
    rows = [
        [
            what,
            str(of["of"]),
            str(of["kept"]),
            *(f"{100 * share:.0f} %" for share in of["measured_by_planned"].values()),
        ]
        for what, of in found.items()
    ]
    return table(columns, rows, "", name)


def budget_speed(documents: Results) -> str:
    """Tabulate what a budget costs in time."""
    _, runs = only(documents)
    rows = [
        [
            run["network"],
            f"{run['budget_bytes'] / MIB:.0f}",
            f"{run['measured_bytes'] / MIB:.1f}",
            rounded(run["training_seconds"]),
            str(run["plan"]["chunk_size"]),
            run["plan"]["moments"],
        ]
        for run in runs
    ]
    columns = ["network", "budget, MiB", "measured peak, MiB", "s of an epoch, all layers", "chunk", "moments in"]
    return table(columns, rows, "", "budget-speed")


def kills(documents: Results) -> str:
    """Tabulate how runs that were killed ended."""
    _, found = only(documents)
    total = found["total"]
    columns = ["kills at random moments", "runs", "ended as one that nobody killed, bit for bit"]
    row = [str(total[name]) for name in ("kills", "ends", "equal")]
    return table(columns, [row], "`kill -9`, over both engines, both schedules and all variants", "kills")


def deploy(documents: Results) -> str:
    """Tabulate forms of a model file: bytes, accuracy, times of the predictor, the whole process."""
    settings, found = only(documents)

    def both(form: str, size: str, scale: float) -> str:
        """Write the predictor's median and, in brackets, that of onnxruntime without ffedge."""
        calls = (found["call_s"][size][f"{form} {way}"] for way in ("predictor", "session"))
        predictor, session = (scale * statistics.median(call) ** (1 if size == "1" else -1) for call in calls)
        write = rounded if size == "1" else "{:,.0f}".format
        return f"{write(predictor)} ({write(session)})"

    def process(name: str) -> list[str]:
        measured = found["processes"][name]
        return [spread(measured["seconds"]), spread(peak / 1e6 for peak in measured["rss_peak_bytes"])]

    rows = [
        [
            f"`{form}`",
            f"{facts['bytes'] / 1e6:.2f}",
            f"{100 * facts['accuracy']:.2f} %",
            both(form, "1", 1e3),
            both(form, "100", 100),
            *process(form),
        ]
        for form, facts in found["forms"].items()
    ]
    rows.append(["onnxruntime alone: import, load, one row", *["-"] * 4, *process("import, load, one row")])
    busy = max(found["cores_elsewhere"], found["processes"]["cores_elsewhere"])
    caption = (
        f"{settings['data']}, widths {settings['widths']}, {counted(settings['threads'], 'thread')}; in brackets "
        "onnxruntime without ffedge; the process is `ffedge predict MODEL digit.png` from start to end; other work "
        f"kept {busy:.1f} cores busy"
    )
    columns = ["form", "file, MB", "accuracy", "ms a row", "rows a second, batch 100", "process, s", "its peak, MB"]
    return table(columns, rows, caption, "deploy")


def serving(documents: Results) -> str:
    """Tabulate requests a second over HTTP, how long they take, and the server's peak."""
    settings, found = only(documents)
    arms = dict.fromkeys((one["rows"], one["clients"], one["learning"]) for one in found["rounds"])
    rows, learns = [], []
    for arm in arms:
        mine = [one for one in found["rounds"] if (one["rows"], one["clients"], one["learning"]) == arm]
        learns += [second for one in mine for second in one.get("learn_s", [])]
        request = f"{counted(arm[0], 'picture')}{', beside one that learns' if arm[2] else ''}"
        figures = [spread(scale * one[name] for one in mine) for scale, name in HTTP_FIGURES]
        rows.append([request, str(arm[1]), *figures])
    plain, load = found["plain_malloc"], documents[0]["machine"]["load_average"]
    peak, without = (f"{each['rss_peak_bytes'] / 1e6:.0f} MB" for each in (found, plain))
    caption = (
        f"{settings['data']}, widths {settings['widths']}, server and load on one core each; of a `/learn` of 20 "
        f"pictures the median took {rounded(statistics.median(learns))} s; peak {peak}, and {without} after "
        f"{plain['learnt']} times `/learn` without the unit's `MALLOC_…`; other work on the machine, which lengthens "
        f"all of it, made its load {load:.0f} at the end"
    )
    return table(["a request", "clients", "requests a second", "p50, ms", "p99, ms"], rows, caption, "serving")
