"""Data sets as rows on disk: numpy only, opened lazily, checked once, read in bounded memory.

`load` opens a data set by name or path, or copies minibatches to one; its inputs are a `RowSource`, from which
training takes minibatches and evaluation takes blocks. `read_inputs` opens what is to be predicted. How a label
enters an input is not known here.
"""

from ffedge.data.catalogue import Data, load
from ffedge.data.dataset import Dataset, Split
from ffedge.data.events import read_events
from ffedge.data.images import files_of, read_image, read_inputs
from ffedge.data.known import NAMES, KnownDataset
from ffedge.data.reading import Listener, Reading
from ffedge.data.rows import ArrayRows, Rows, RowSource

__all__ = [
    "NAMES",
    "ArrayRows",
    "Data",
    "Dataset",
    "KnownDataset",
    "Listener",
    "Reading",
    "RowSource",
    "Rows",
    "Split",
    "files_of",
    "load",
    "read_events",
    "read_image",
    "read_inputs",
]
