"""A trained network as spikes: converted, in NIR files, and run by a small simulator in numpy."""

from ffedge.spikes.network import SpikingLayer, SpikingNetwork
from ffedge.spikes.nir_file import check_installed, is_nir, read, write
from ffedge.spikes.predictor import SpikingPredictor

__all__ = ["SpikingLayer", "SpikingNetwork", "SpikingPredictor", "check_installed", "is_nir", "read", "write"]
