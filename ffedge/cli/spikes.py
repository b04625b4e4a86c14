"""Whether a model file is a NIR file, which predict, eval and info take too."""

from argparse import Namespace


def is_spiking(options: Namespace) -> bool:
    """Tell whether the model is a NIR file; ValueError where flags for NIR files were used and it is none."""
    from ffedge.spikes import is_nir

    spiking = is_nir(options.model)
    used = [name for name in ("timesteps", "margin") if getattr(options, name, None) is not None]
    if used and options.model.is_file() and not spiking:
        raise ValueError("--timesteps and --margin are for NIR files. Write one with `ffedge export RUN --nir FILE`")
    return spiking
