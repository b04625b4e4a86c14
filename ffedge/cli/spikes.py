"""Whether a model file is a NIR file, which predict, eval and info take too."""

from argparse import Namespace

OF_SPIKES, OF_OTHERS = {"timesteps", "margin"}, {"provider", "reject", "threads"}


def is_spiking(options: Namespace) -> bool:
    """Tell whether the model is a NIR file; ValueError where flags were used that are not for such a file."""
    from ffedge.spikes import is_nir

    spiking = is_nir(options.model)
    if options.model.is_file() and (idle := options.given & (OF_OTHERS if spiking else OF_SPIKES)):
        kind = "a NIR file" if spiking else "a model.onnx"
        raise ValueError(f"--{min(idle)} plays no part for {kind}. Leave it out")
    return spiking
