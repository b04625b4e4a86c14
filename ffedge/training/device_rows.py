"""Rows of a data set on a device, where they have room: a batch then costs the way of its rows' numbers alone."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffedge.data.rows import RowSource, places

SHARE = 0.5  # of the device's free memory, at most
BLOCK_BYTES = 2**26  # that are on their way together


class DeviceRows:
    """All rows of a source, copied to a device."""

    def __init__(self, source: RowSource, device: torch.device) -> None:
        dtype = torch.from_numpy(np.empty(0, source.dtype)).dtype
        size = row_bytes(source) // source.dtype.itemsize
        self._rows = torch.empty((len(source), size), dtype=dtype, device=device)
        for at in places(len(source), max(1, BLOCK_BYTES // row_bytes(source))):
            block = np.ascontiguousarray(source.take(at)).reshape(len(at), -1)
            self._rows[int(at[0]) : int(at[-1]) + 1] = torch.tensor(block)

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """Return some rows [N, I], each flattened."""
        at = torch.tensor(rows)
        at = at.pin_memory() if self._rows.is_cuda else at
        return self._rows.index_select(0, at.to(self._rows.device, non_blocking=True))


def row_bytes(source: RowSource) -> int:
    """Return the bytes of a row."""
    return int(np.prod(source.row_shape)) * source.dtype.itemsize


def fits(source: RowSource, device: Any) -> bool:
    """Say whether a CUDA device has room for all rows of a source beside what training takes."""
    free, _ = torch.cuda.mem_get_info(device)
    return len(source) * row_bytes(source) <= SHARE * free
