"""Arrays in Fortran order, as pandas saves them: their rows are not contiguous, and are copied once so that they are.

Shape letters: N rows, I values of a row, B rows of a block.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data.cache_folder import filling, sha256_of, writable_folder
from ffedge.data.rows import Rows
from ffedge.files import nameless_file

BLOCK_BYTES = 1 << 20


def in_rows(values: Rows, shape: tuple[int, ...], name: str) -> Rows:
    """Copy an array to a file without a name, in C order, in bounded memory; its hash is that of `numpy.save` there.

    Parameters
    ----------
    values : [N * I] as they stand in the file, the row's number running fastest.
    shape : ``[N, *row_shape]`` of the array.

    Raises
    ------
    DataError
        The disk is full, or the cache cannot be written.
    """
    place = writable_folder("temporary")
    with filling(place), nameless_file(place) as (file, path):
        header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        for block in _blocks(values, shape):
            file.write(block.view(np.uint8).data)
        file.flush()
        return Rows(path, offset, shape, values.dtype, name, sha256_of(path))


def _blocks(values: Rows, shape: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    """Yield the rows [B, I] in order."""
    count, size = shape[0], math.prod(shape[1:])
    most = max(1, BLOCK_BYTES // (size * values.dtype.itemsize))
    order = np.arange(size).reshape(shape[:0:-1]).T.reshape(-1)  # where each value of a row stands in the file
    for start in range(0, count, most):
        stop = min(start + most, count)
        block = np.empty((stop - start, size), values.dtype)
        for place, at in enumerate(order.tolist()):
            block[:, place] = values.between(at * count + start, at * count + stop)
        yield block
