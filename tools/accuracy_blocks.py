"""The blocks on what networks reach: accuracy, depth, tables, time to an accuracy, learning, what a model knows."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from results import only
from time_to_accuracy import TARGETS
from wording import DATA, MIB, caption, counted, layers, percent, rounded, span, table

SIDES = {"ffedge": "**ffedge**", "backprop": "backprop, torch"}
TIMED = {  # arms of bench/time_to_accuracy.py
    "ffedge": "**`ffedge train` as it comes**",
    "ffedge-interleaved": "ffedge `ff`, interleaved, one random wrong label",
    "ffedge-groups": "ffedge, groups, interleaved",
    "ffedge-readout": "ffedge, readout, interleaved",
    "backprop-tuned": "backprop, torch, AdamW, dropout, smoothing, cooldown",
    "backprop": "backprop, torch, Adam",
    "backprop-ort": "backprop, onnxruntime, Adam, cooldown",
    "sklearn": "backprop, scikit-learn, Adam",
    "fflib": "fflib",
    "mpezeshki": "mpezeshki's net, minibatched",
}
RULES = {  # network and rule of bench/rejection.py
    ("ffedge", "score and margin"): "**ffedge, score and margin**",
    ("ffedge", "max softmax"): "ffedge, max softmax",
    ("backprop", "score and margin"): "backprop, score and margin",
    ("backprop", "max softmax"): "backprop, max softmax",
}
Results = Sequence[Any]


def of(runs: Results, **same: Any) -> list[Any]:
    """Return the runs in which some values are these."""
    return [run for run in runs if same.items() <= run.items()]


def percents(runs: Results, **same: Any) -> list[float]:
    """Return the test accuracies of such runs."""
    return [100 * run["test_accuracy"] for run in of(runs, **same)]


def peaks(runs: Results) -> str:
    """Write the resident peaks of some processes, and what of them is imports."""
    return f"{span(r['rss_peak_bytes'] / MIB for r in runs)} ({span(r['import_bytes'] / MIB for r in runs)})"


def accuracy(documents: Results) -> str:
    """Tabulate data sets by variants, with the peaks of the processes."""
    settings, runs = only(documents)
    rows = [
        [
            DATA[data],
            *(percent(percents(runs, data_name=data, variant=v)) for v in settings["variants"]),
            peaks(of(runs, data_name=data)),
        ]
        for data in settings["data"]
    ]
    head = f"{layers(runs[0]['spec']['network']['widths'])}, {settings['epochs']} epochs a layer"
    columns = [head, *(f"`{v}`" for v in settings["variants"]), "peak, MiB (imports)"]
    return table(columns, rows, f"Test accuracy, mean of {len(settings['seeds'])} seeds (each)", "accuracy")


def accuracy_wide(*results: Results) -> str:
    """Tabulate what wider layers, more epochs and shifted images reach."""
    rows, names = [], []
    for documents in results:
        settings, runs = only(documents)
        network, train = (runs[0]["spec"][part] for part in ("network", "train"))
        share = "" if train["shift_share"] == 1.0 else f"{100 * train['shift_share']:.0f} % of the "
        what = f"{DATA[runs[0]['data_name']]}, {layers(network['widths'])}, `{network.get('class_goodness', 'tried')}`"
        what += f", {train['epochs']} epochs, {share}images shifted by up to {counted(train['shift'], 'pixel')}"
        rows.append([what, percent(percents(runs)), peaks(runs)])
        names.append(settings["name"])
    head = ["data, network, training", f"`{runs[0]['variant']}`", "peak, MiB (imports)"]
    return table(head, rows, "Mean (each seed)", *names)


def accuracy_one_pass(groups: Results, readout: Results, tried: Results) -> str:
    """Tabulate what `acff` reaches by how a class is told."""
    (settings, _), rows = only(groups), []
    for kind, documents in (("groups", groups), ("readout", readout), ("tried", tried)):
        runs = of(only(documents)[1], variant="acff")
        cells = [percent(percents(runs, data_name=data)) for data in settings["data"]]
        rows.append([f"`{kind}`", *cells, peaks(runs)])
    columns = ["2 layers of 500, 20 epochs", *(DATA[data] for data in settings["data"]), "peak, MiB (imports)"]
    return table(columns, rows, "Mean (each seed)", "accuracy-groups", "accuracy-readout", "accuracy")


def accuracy_pictures(*results: Results) -> str:
    """Tabulate what networks of convolutions reach, with their weights and moments, and what computed."""
    rows, names = [], []
    for settings, runs in map(only, results):
        names.append(settings["name"])
        for data in settings["data"]:
            own = of(runs, data_name=data)
            spec, state = own[0]["spec"], sum(layer["state_bytes"] for layer in own[0]["layers"]) / MIB
            rule, epochs = spec["rule"], f"{spec['train']['epochs']} epochs"
            told = spec["network"]["class_goodness"]
            network = ", ".join([",".join(spec["network"]["widths"]), rule["variant"], told, epochs])
            engine = " ".join(
                spec["train"][key] for key in ("engine", "precision") if spec["train"].get(key, "float32") != "float32"
            )
            rows.append([DATA[data], f"`{network}`", engine, percent(percents(own)), f"{state:.1f}", peaks(own)])
    columns = ["data", "layers, variant, class goodness", "engine", "test accuracy (each seed)"]
    return table([*columns, "weights and moments, MiB", "peak, MiB (imports)"], rows, "Mean (each seed)", *names)


def accuracy_default(documents: Results) -> str:
    """Tabulate what README's first command reaches."""
    _, runs = only(documents)
    row = [percent(percents(runs), 1), f"{statistics.median(r['seconds'] for r in runs):.0f}", peaks(runs)]
    columns = ["test accuracy (each seed)", "s", "peak, MiB (imports)"]
    return table(columns, [row], "The first command, on the embedded digits", "accuracy-default")


def accuracy_spiking(spiking: Results, tuned: Results) -> str:
    """Tabulate the spiking preset by data sets and variants, each with its distance from the tuned one."""
    (settings, runs), (of_tuned, others) = only(spiking), only(tuned)
    rows = []
    for data in settings["data"]:
        cells = []
        for variant in settings["variants"]:
            own, other = (statistics.mean(percents(r, data_name=data, variant=variant)) for r in (runs, others))
            cells.append(f"{own:.2f} % ({own - other:+.2f})")
        rows.append([DATA[data], *cells])
    head = f"preset `spiking`, {settings['epochs']} epochs a layer"
    text = f"Mean of {len(settings['seeds'])} seeds; in brackets: points from the preset `tuned`'s mean "
    text += f"({of_tuned['epochs']} epochs)"
    return table([head, *(f"`{v}`" for v in settings["variants"])], rows, text, "accuracy-spiking")


def depth(*results: Results) -> str:
    """Tabulate accuracy by depth, and what is gained up to 4 layers, seed by seed."""
    tables = []
    for document in (documents[-1] for documents in results):
        settings, rows = document["settings"], []
        depths = settings["depths"]
        for data in settings["data"]:
            for arm in settings["arms"]:
                own = sorted(of(document["results"], data=data, arm=arm), key=lambda run: run["seed"])
                each = {d: [100 * r["accuracy"][str(d)] for r in own if str(d) in r["accuracy"]] for d in depths}
                gains = [b - a for a, b in zip(each[depths[0]], each[4], strict=True)]
                gained = f"{statistics.mean(gains):+.2f} ({' '.join(f'{gain:+.2f}' for gain in gains)})"
                means = [f"{statistics.mean(values):.2f}" for values in each.values()]
                rows.append([f"{DATA[data]}, {SIDES[arm]}", *means, gained])
        columns = ["test accuracy, %", *(counted(d, "layer") for d in depths), f"points from {depths[0]} to 4 (each)"]
        size = f"Layers of {settings['width']}, `{settings['variant']}`, {counted(len(settings['seeds']), 'seed')}"
        tables.append(table(columns, rows, size, document["benchmark"]))
    return "\n\n".join(tables)


def tables(documents: Results) -> str:
    """Tabulate balanced accuracy beside MLPClassifier's."""
    settings, runs, rows = documents[-1]["settings"], documents[-1]["results"], []
    for name in settings["tables"]:
        ours, theirs = (
            [100 * statistics.mean(run[side][measure] for run in of(runs, table=name)) for measure in SCORES]
            for side in ("ffedge", "mlp")
        )
        rows.append([name, *(f"{a:.1f} ({b:.1f})" for a, b in (ours, theirs)), f"{ours[0] - theirs[0]:+.1f}"])
    columns = ["balanced accuracy, % (accuracy)", "`ffedge train`", "MLPClassifier", "points"]
    seeds = counted(len(settings["seeds"]), "seed")
    text = f"Layers of {settings['widths']}, both as they come, mean of {seeds}"
    return table(columns, rows, text, "tables")


def csv_peers(documents: Results) -> str:
    """Tabulate balanced accuracy, seconds and memory on tables as CSV beside scikit-learn's."""
    settings, runs, rows = documents[-1]["settings"], documents[-1]["results"], []
    for name in settings["tables"]:
        cells = []
        for arm in PEERS:
            own = of(runs, table=name, arm=arm)
            right = [100 * run["balanced_accuracy"] for run in own]
            seconds, peak = (statistics.mean(run[item] for run in own) for item in ("cpu_s", "peak_bytes"))
            reached = f"{statistics.mean(right):.1f} [{min(right):.1f}, {max(right):.1f}]"
            cells.append(f"{reached}; {seconds:.1f} s, {peak / MIB:.0f} MiB")
        counts = of(runs, table=name)[0]["classes"]
        rows.append([f"{name}, {sum(counts.values()):,} rows, {len(counts)} classes", *cells])
    columns = ["balanced accuracy, % [least, greatest]; processor s, peak", *PEERS.values()]
    return table(columns, rows, f"All as they come, mean of {counted(len(settings['seeds']), 'seed')}", "csv-peers")


PEERS = {"ffedge": "**`ffedge train`**", "mlp": "MLPClassifier", "boosting": "HistGradientBoosting"}
SCORES = ("balanced_accuracy", "accuracy")


def time_to_accuracy(*results: Results) -> str:
    """Tabulate the seconds of training until a test accuracy is reached, result by result and data set by data set."""
    tables = []
    for document in (documents[-1] for documents in results):
        settings, runs = document["settings"], document["results"]
        for data in settings["data"]:
            rows = []
            for arm in (arm for arm in TIMED if arm in settings["arms"]):
                own = of(runs, data=data, name=arm)
                ends = [
                    statistics.median(run["points"][-1][1] for run in of(own, epochs=epochs))
                    for epochs in {run["epochs"] for run in own}
                ]
                rows.append(
                    [TIMED[arm], *(_least(own, target) for target in TARGETS[data]), f"{100 * max(ends):.2f} %"]
                )
            head = f"{DATA[data]}: s to a test accuracy of"
            tables.append(table([head, *(f"{100 * target:g} %" for target in TARGETS[data]), "in the end"], rows))
        text = (
            "2 layers of 500, batch 256, one thread, seconds of the processor, evaluation left out; medians of "
            f"{counted(len(settings['seeds']), 'seed')}, of the number of epochs that gets there first (in brackets; "
            f"up to {settings['most_epochs']})"
        )
        tables.append(caption(text, document["benchmark"]))
    return "\n\n".join(tables)


def _least(runs: Results, target: float) -> str:
    """Write the least median over the seeds, all of which must get there, and its number of epochs."""
    reached = []
    for epochs in {run["epochs"] for run in runs}:
        times = [
            next((seconds for seconds, share in run["points"] if share >= target), None)
            for run in of(runs, epochs=epochs)
        ]
        if None not in times:
            reached.append((statistics.median(times), epochs))
    return "never" if not reached else "{:.1f} ({})".format(*min(reached))


def learn(documents: Results) -> str:
    """Tabulate what models learnt on the spot, and what they kept of what they knew."""
    settings, runs = only(documents)
    rows = []
    for case in dict.fromkeys(run["case"] for run in runs):
        ends = [
            [
                statistics.mean(100 * run[f"{kind}_{when}"] for run in of(runs, case=case))
                for when in ("before", "after")
            ]
            for kind in ("old", "new")
        ]
        rows.append([case, *(f"{before:.2f} -> {after:.2f}" for before, after in ends), peaks(of(runs, case=case))])
    text = (
        f"MNIST, 2 layers of 500, {settings['epochs']} epochs a layer, then {settings['learn_epochs']} epochs on "
        f"{settings['new_rows']:,} new rows; {counted(len(settings['seeds']), 'seed')}"
    )
    return table(["test accuracy, %", "old rows", "new rows", "peak, MiB (imports)"], rows, text, "learn")


def few_shot(documents: Results) -> str:
    """Tabulate what is right after sessions of new classes with five examples each."""
    settings, runs = only(documents)
    last, rows = settings["sessions"], []
    for kind, way in dict.fromkeys((run["kind"], run["way"]) for run in runs):
        own = of(runs, kind=kind, way=way)

        def mean(pick: Callable[[Any], float], own: Results = own) -> str:
            return f"{100 * statistics.mean(map(pick, own)):.1f}"

        each = [mean(lambda run, n=number: run["accuracy"][n]) for number in (0, 1, last // 2, last)]  # type: ignore[misc]
        each += [mean(lambda run: statistics.mean(run["accuracy"])), mean(lambda run: run["base_after"])]
        kept = f"{own[0].get('kept_rows', 0):,}"
        rows.append([way if kind == "-" else f"`{kind}`: {way}", kept, *each, mean(lambda run: run["new_after"])])
    columns = ["test accuracy, %", "rows kept", "100 classes", *(f"{100 + 10 * n}" for n in (1, last // 2, last))]
    columns += [f"mean of all {last + 1}", "in the end, base classes", "new classes"]
    text = (
        f"Synthetic words (bench/keywords.py), {counted(len(settings['seeds']), 'seed')}; 2 layers of "
        f"{settings['width']}, {settings['base_epochs']} epochs a layer on {settings['base_rows']} rows of each of 100 "
        f"words; then {last} sessions of 10 new words with 5 rows each, {settings['epochs']} epochs a layer; "
        f"{settings['test_rows']} test rows a word"
    )
    return table(columns, rows, text, "few-shot")


def forgetting(documents: Results) -> str:
    """Tabulate what is left of the old after a day that was learnt in several ways, and what was gained."""
    settings, runs = only(documents)
    days, rows = list(dict.fromkeys(run["day"] for run in runs)), []
    for data in settings["data"]:
        for way in (None, *dict.fromkeys(run["way"] for run in runs)):
            cells = []
            for day in days:
                own = of(runs, data=data, day=day) if way is None else of(runs, data=data, day=day, way=way)
                when = "before" if way is None else "after"
                old, new = (100 * statistics.mean(run[f"{kind}_{when}"] for run in own) for kind in ("old", "new"))
                cells.append(f"{old:.1f} / {new:.1f}")
            rows.append([f"{DATA[data]}: {way or 'before'}", *cells])
    text = (
        f"Means of {counted(len(settings['seeds']), 'seed')}: accuracy on old / new rows, {settings['test_rows']:,} of "
        f"each at most, after {settings['epochs']} epochs over a day of {settings['rows']} rows"
    )
    return table(["test accuracy, %", *days], rows, text, "forgetting")


def rejection(documents: Results) -> str:
    """Tabulate how well known rows are told from strange ones."""
    settings, runs = only(documents)
    kinds = list(runs[0]["max softmax"]["auroc"])
    rows = []
    for data in settings["data"]:
        for (network, rule), name in RULES.items():
            own = of(runs, data=data, network=network)

            def middle(pick: Callable[[Any], float], own: Results = own) -> float:
                return 100 * statistics.median(map(pick, own))

            areas = [f"{middle(lambda run, k=kind, r=rule: run[r]['auroc'][k]):.1f}" for kind in kinds]  # type: ignore[misc]
            error = f"{100 - middle(lambda run: run['accuracy']):.2f}"
            risk, known = (middle(lambda run, k=k, r=rule: run[r][k]) for k in ("risk_at_coverage", "coverage"))  # type: ignore[misc]
            rows.append([f"{DATA[data]}: {name}", *areas, error, f"{risk:.2f}", f"{known:.1f}"])
    columns = ["AUROC, %", *(kind if kind != "other data" else "the other data" for kind in kinds)]
    columns += ["error, %", f"of the {100 * settings['coverage']:.0f} % most known", "known by the bounds, %"]
    seeds = counted(len(settings["seeds"]), "seed")
    return table(columns, rows, f"Medians of {seeds}; 2 layers of 500, {settings['epochs']} epochs", "rejection")


def drift(documents: Results) -> str:
    """Tabulate how soon changes were seen, and how often there was an alarm before them."""
    settings, runs = only(documents)
    rows = []
    for name in runs[0]["changes"]:
        own = [run["changes"][name] for run in runs]
        every = [delay for change in own for delay in change["delays"]]
        delays, right = sorted(d for d in every if d is not None), [change["accuracy"] for change in own]
        rows.append(
            [
                name,
                "-" if None in right else f"{100 * statistics.mean(right):.1f} %",
                f"{100 * statistics.mean(change['known'] for change in own):.1f} %",
                f"{statistics.median(delays):.0f} [{delays[0]}, {delays[-1]}]" if delays else "-",
                f"{len(delays)} of {len(every)}",
                f"{sum(c['false_alarms'] for c in own)} in {len(every) * settings['before']:,}",
            ]
        )
    columns = ["change", "accuracy", "known", "samples to the alarm", "seen", "false alarms before, in samples"]
    text = f"MNIST's test images, changed after {settings['before']:,}; window {settings['window']}, "
    return table(columns, rows, text + counted(len(settings["seeds"]), "network"), "drift")


def spikes(documents: Results, name: str = "spikes") -> str:
    """Tabulate accuracy and operations of numbers, spikes and backprop; the figure has all timesteps."""
    made = []
    for data, one in [pair for document in documents for pair in document["results"].items()]:
        settings = one["settings"]
        calibrated = settings["calibrated_timesteps"]
        rows = [
            [
                p["name"].removeprefix("spikes, "),
                f"{p['timesteps']:.0f}" if p["timesteps"] else "",
                f"{100 * p['accuracy']:.2f} %",
                *(rounded(p["workload"][n] / 1e6) for n in ("effective_macs", "effective_acs", "neuron_updates")),
                f"{p['workload']['activation_sparsity']:.3f}",
                rounded(p["energy_nj"] / 1000),
            ]
            for p in one["points"]
            if p["kind"] != "spikes" or p["chosen"] or (p["margin"] is None and p["timesteps"] in (16, 64, calibrated))
        ]
        head = f"{DATA[data]}, {layers(settings['widths'])}, `{settings['variant']}`"
        columns = [head, "timesteps", "accuracy", "M MACs", "M ACs", "M updates", "activation sparsity", "µJ, estimate"]
        images = f"the first {settings['rows']:,}" if settings["rows"] else "all"
        text = f"{settings['epochs']} epochs a layer, one seed, {images} test images; margins chosen on held-out rows"
        made.append(table(columns, rows, f"Operations of a sample, all classes together. {text}", name))
    return "\n\n".join(made)


def spikes_groups(documents: Results) -> str:
    """Tabulate the same where one run tells all classes."""
    return spikes(documents, "spikes-groups")


def spikes_pictures(documents: Results) -> str:
    """Tabulate accuracy of convolutions as spikes by timesteps."""
    settings, found = only(documents)
    steps, each = settings["timesteps"], {"model.onnx": [found["model.onnx"]]}
    each |= {f"reset {reset}": found[reset]["accuracy"] for reset in settings["resets"]}
    rows = [[name, *[""] * (len(steps) - len(own)), *(f"{100 * a:.1f} %" for a in own)] for name, own in each.items()]
    network = settings["spec"]["network"]["widths"]
    text = f"CIFAR-10, {', '.join(map(str, network))}, groups, `ff`, one seed; {settings['rows']:,} test pictures"
    return table(["timesteps", *map(str, steps)], rows, text, "spikes-pictures")
