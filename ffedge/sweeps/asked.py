"""What a sweep asks, as the trials that it makes: fields of a spec, data sets and seeds."""

import dataclasses
import hashlib
import itertools
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffedge.data import NAMES, Reading
from ffedge.errors import FfedgeError
from ffedge.fields import is_whole
from ffedge.files import regular_file
from ffedge.spec import Spec
from ffedge.sweeps.points import OF_DATA
from ffedge.sweeps.values import MOST_TRIALS, Fields, drawn, grid, values_of

MOST_BYTES = 1 << 20
OF_ALL = ("seeds", "random", "random_seed", "halving", "grid")  # of the whole sweep, and so in no [[grid]]


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes
    ----------
    data : a known name, a path, or a list of paths.
    how : what is said of how the data are read: label, leave_out, data_dir, reading.
    fields : ``preset`` and fields of a spec, as `Spec.make` takes them.
    rung : of successive halving, from 0.
    """

    data: Any
    how: Fields
    fields: Fields
    rung: int = 0

    @property
    def id(self) -> str:
        """A name that says what it trains: the same description has the same one, in any sweep; never a number."""
        text = json.dumps([self.data, self.how, self.fields], sort_keys=True)
        return f"t{hashlib.sha256(text.encode()).hexdigest()[:11]}"

    @property
    def point(self) -> str:
        """What it shares with the trials that have other seeds alone."""
        return json.dumps([self.data, self.how, {k: v for k, v in self.fields.items() if k != "seed"}], sort_keys=True)

    @property
    def source(self) -> str:
        """The data set, and how it is read, as a text."""
        return json.dumps([self.data, self.how], sort_keys=True)

    def about(self) -> Fields:
        """Return all that is asked, by the names of the description."""
        return {"data": self.data} | self.how | self.fields

    def of_rung(self, rung: int, divisor: int) -> "Trial":
        """Return it with the epochs of a rung."""
        return dataclasses.replace(self, rung=rung, fields=self.fields | {"epochs": self.fields["epochs"] // divisor})

    def spec(self) -> Spec:
        """Return the spec of the training."""
        return Spec.make(**self.fields)


@dataclass(frozen=True)
class Asked:
    """What a sweep is to do.

    Attributes
    ----------
    halving : the share of trials, one in so many, that goes on to the next rung; None trains all to the end.
    """

    trials: list[Trial]
    halving: int | None = None

    def rungs(self) -> list[int]:
        """Return by what the epochs of each rung are divided: 9, 3, 1 where one in three goes on; 1 without halving."""
        if self.halving is None:
            return [1]
        shortest = min(trial.fields["epochs"] for trial in self.trials)
        most = min(shortest, len({trial.point for trial in self.trials}))
        count = 1
        while self.halving**count <= most:
            count += 1
        return [self.halving**n for n in reversed(range(count))]


def read(spec: Mapping[str, Any] | str | Path) -> Asked:
    """Read a sweep's description, of a TOML file or a dict of the same names.

    Raises
    ------
    FfedgeError
        The file cannot be read, or asks for what cannot be.
    ValueError
        A dict does.
    """
    if isinstance(spec, Mapping):
        return _asked(spec)
    path = Path(spec)
    try:
        with regular_file(path) as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise FfedgeError(f"{path}: is larger than {MOST_BYTES} bytes. Pass the description of a sweep")
        return _asked(tomllib.loads(content.decode()))
    except OSError as error:
        raise FfedgeError(f"{path}: cannot be read ({error.strerror}). Pass a TOML file (docs/sweeps.md)") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FfedgeError(f"{path}: is no TOML file ({error})") from error
    except ValueError as error:
        raise FfedgeError(f"{path}: {str(error).replace('`', '')}") from error  # they are the file's own names


def _asked(asked: Mapping[str, Any]) -> Asked:
    try:
        given = json.loads(json.dumps(asked, default=os.fspath))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"a sweep must be of plain lists, numbers and strings ({error})") from error
    halving, draws = given.get("halving"), given.get("random")
    for name, value, least in (("halving", halving, 2), ("random", draws, 1)):
        if value is not None and not (is_whole(value) and value >= least):
            raise ValueError(f"`{name}` must be a whole number from {least}, got {value!r}")
    first, seeds = given.get("random_seed", 0), given.get("seeds", [0])
    if not is_whole(first) or ("random_seed" in given and draws is None):
        raise ValueError(f"`random_seed` must be a whole number beside `random`, got {first!r}")
    if not isinstance(seeds, list) or not seeds or not all(map(is_whole, seeds)):
        raise ValueError(f"`seeds` must be a list of whole numbers, got {seeds!r}")
    blocks = given.get("grid", [{}])
    if not isinstance(blocks, list) or not blocks or not all(isinstance(block, dict) for block in blocks):
        raise ValueError("`grid` must be tables, each under [[grid]]")
    common = {name: value for name, value in given.items() if name not in OF_ALL}
    trials = dict[str, Trial]()
    for block in blocks:
        if wrong := sorted(set(block) & set(OF_ALL)):
            raise ValueError(f"`{wrong[0]}` is of the whole sweep. Move it above the first [[grid]]")
        how, sources, choices = _choices(common | block)
        points = drawn(choices, draws, first) if draws else grid(choices)
        for point, data, seed in itertools.product(points, sources, seeds):
            trial = Trial(data, how, point | {"seed": seed})
            if not trials.setdefault(trial.id, trial) or len(trials) > MOST_TRIALS:
                raise ValueError(f"this makes more than {MOST_TRIALS:,} trials. Use fewer values, or `random`")
    result = Asked(list(trials.values()), halving)
    for trial in result.trials:
        _check(trial, result)
    return result


def _choices(block: dict[str, Any]) -> tuple[Fields, list[Any], dict[str, Any]]:
    """Return how the data are read, the data sets, and the values of each field: a list, or a range."""
    block = {"preset": "tuned", "data": "mnist-mini"} | block
    how = {name: block.pop(name) for name in OF_DATA if name in block}
    for name, kind in (("label", str), ("leave_out", list), ("data_dir", str), ("reading", dict)):
        if name in how and not isinstance(how[name], kind):
            raise ValueError(f"`{name}` must be a {kind.__name__}, got {how[name]!r}")
    try:
        Reading.from_dict(how.get("reading", {}))
    except TypeError as error:
        fields = ", ".join(field.name for field in dataclasses.fields(Reading))
        raise ValueError(f"`reading` must have fields of {fields}, got {how['reading']!r}") from error
    sources = block.pop("data")
    sources = sources if isinstance(sources, list) else [sources]
    for source in sources:
        _check_source(source)
    if "seed" in block:
        raise ValueError("`seed` is told by `seeds`, a list. Use `seeds=[0]`")
    if unknown := sorted(set(block) - {"preset", *Spec.options()}):
        known = ", ".join(sorted({*Spec.options(), *OF_ALL, *OF_DATA, "data", "preset"} - {"seed"}))
        raise ValueError(f"a sweep has no field {unknown[0]!r}. Use {known}")
    presets = block["preset"] if isinstance(block["preset"], list) else [block["preset"]]
    if not all(isinstance(name, str) for name in presets):
        raise ValueError(f"`preset` must be a name or a list of names, got {block['preset']!r}")
    choices = {name: values_of(name, value) for name, value in block.items()}
    for name, values in (*choices.items(), ("data", sources)):
        if values == []:
            raise ValueError(f"`{name}` is an empty list, so that there are no trials. Give it a value")
    return how, sources, choices


def _check_source(source: Any) -> None:
    """Raise ValueError for what is no data set, as far as that can be told without reading it."""
    files = source if isinstance(source, list) else [source]
    if not files or not all(isinstance(file, str) and file for file in files) or files == ["-"]:
        raise ValueError(f"`data` must be names or paths of data sets, got {source!r}")
    for file in files:
        if file not in NAMES and not Path(file).exists() and not any(sign in file for sign in "*?["):
            raise ValueError(f"`data` is neither a file or folder nor one of {', '.join(NAMES)}, got {file!r}")


def _check(trial: Trial, asked: Asked) -> None:
    """Raise ValueError where a trial cannot be."""
    try:
        spec = trial.spec()
        if not spec.train.holdout:
            raise ValueError("`holdout` must not be 0: trials are compared by held-out rows. Leave it out")
        if asked.halving and not is_whole(trial.fields.get("epochs")):
            raise ValueError("`halving` needs `epochs` as a number, which the last rung has. Add it")
    except ValueError as error:
        other = [name for name in trial.fields if any(trial.fields[name] != t.fields.get(name) for t in asked.trials)]
        where = ", ".join(f"{name} {trial.fields[name]}" for name in other)
        raise ValueError(f"{error}" + (f" (of the trial with {where})" if where else "")) from error
