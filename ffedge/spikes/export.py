"""From a run folder to a NIR file."""

from pathlib import Path
from typing import Any

from ffedge.data import load
from ffedge.data.stream import spread_evenly
from ffedge.errors import DataError, FfedgeError
from ffedge.files import atomic_file
from ffedge.model.readings import samples_of
from ffedge.spikes.convert import ROWS, check_convertible, convert
from ffedge.spikes.network import MAX_TIMESTEPS, Reset, SpikingNetwork, check_timesteps
from ffedge.spikes.nir_file import write
from ffedge.spikes.traces import traced, write_traces
from ffedge.training.folder import StoredRun


def export_nir(
    run: Path,
    out: Path,
    *,
    timesteps: int = 256,
    reset: Reset = "subtract",
    leak: int | None = None,
    current_based: bool = False,
    data: str | None = None,
    data_dir: Path | None = None,
    force: bool = False,
    traces: int = 0,
) -> SpikingNetwork:
    """Write the network of a run's newest checkpoint as spikes, calibrated on its training rows.

    Parameters
    ----------
    timesteps : that a prediction takes, and for which thresholds are chosen.
    reset : ``subtract`` the threshold from a neuron that spiked, or set it to ``zero``.
    leak : time constant of leaky neurons, in timesteps; None makes neurons that do not leak.
    current_based : write leaky neurons with a synapse (CubaLIF), for readers that know no others.
    traces : samples of the test split (or else the train split) whose spikes are written beside `out`
        (`ffedge.spikes.traces`).
    data : the name or path of the training data; None takes what the run tells.

    Raises
    ------
    FfedgeError
        `out` exists (without `force`), the run's network cannot be carried by spikes, its data cannot be found or have
        another shape, or nir is not installed.
    ValueError
        A number outside its rule.
    """
    check_timesteps(timesteps)
    beside = traces_file(out)
    if traces and beside.exists() and not force:
        raise FfedgeError(f"{beside}: exists already. Choose another place, or use `force`")
    if reset not in ("subtract", "zero"):
        raise ValueError(f"`reset` must be subtract or zero, got {reset!r}")
    if leak is not None and not 2 <= leak <= MAX_TIMESTEPS:
        raise ValueError(f"`leak` must be 2 to {MAX_TIMESTEPS} timesteps, got {leak!r}")
    if current_based and leak is None:
        raise ValueError("`current_based` neurons leak: give their `leak`, too")
    if out.exists() and not force:
        raise FfedgeError(f"{out}: exists already. Choose another place, or use `force`")
    trained = StoredRun.read(run)
    recipe, facts, layers = trained.recipe, trained.facts, trained.layers()
    check_convertible(recipe, str(run))
    if facts.dtype == "float64" or facts.clip is not None:
        raise FfedgeError(f"{run}: learnt from a table, which its graph prepares, and spikes do not. Train on an .npz")
    with atomic_file(out) as temporary:
        dataset = load(data or trained.source, data_dir, reading=trained.reading, shape=facts.shape)
        try:
            raw = samples_of(dataset.train.inputs.take(spread_evenly(len(dataset.train.labels), ROWS)), facts)
        except DataError as error:
            raise DataError(f"{dataset.name}: is other data than {run} learnt from ({error})") from error
        kind: dict[str, Any] = {"reset": reset, "leak_steps": leak, "current_based": current_based}
        network = convert(recipe, facts, layers, raw, timesteps=timesteps, data=dataset.name, **kind)
        write(network, temporary)
        if traces:
            split = dataset.test or dataset.train
            raw = samples_of(split.inputs.take(spread_evenly(len(split.labels), traces)), facts)
            with atomic_file(beside) as also:
                write_traces(traced(network, raw, timesteps), also)
        elif force:
            beside.unlink(missing_ok=True)  # it is of the network that is replaced
    return network


def traces_file(path: Path) -> Path:
    """Return where the traces of a NIR file stand."""
    return path.with_name(f"{path.stem}.traces{path.suffix}")
