"""Make the embedded data set mnist-mini: the first 6,000 train and 1,000 test images of MNIST.

python tools/make_mnist_mini.py <folder of MNIST's .gz files> ffedge/data/mnist_mini
"""

import argparse
import gzip
import hashlib
import struct
from pathlib import Path

ROWS = {
    "train-images-idx3-ubyte": 6_000,
    "train-labels-idx1-ubyte": 6_000,
    "t10k-images-idx3-ubyte": 1_000,
    "t10k-labels-idx1-ubyte": 1_000,
}


def first_rows(idx: bytes, n_rows: int) -> bytes:
    """Cut a uint8 IDX file after its first rows and say so in its header."""
    n_axes = idx[3]
    row_shape = struct.unpack(f">{n_axes}I", idx[4 : 4 + 4 * n_axes])[1:]
    row_bytes = 1
    for size in row_shape:
        row_bytes *= size
    begin = 4 + 4 * n_axes
    return idx[:4] + struct.pack(f">{n_axes}I", n_rows, *row_shape) + idx[begin : begin + n_rows * row_bytes]


def main() -> None:
    """Write the four files and print the sha256 of each: of the file, and of its unpacked bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, n_rows in ROWS.items():
        cut = first_rows(gzip.decompress((arguments.source / f"{name}.gz").read_bytes()), n_rows)
        packed = gzip.compress(cut, compresslevel=9, mtime=0)
        (arguments.output / f"{name}.gz").write_bytes(packed)
        print(f"{hashlib.sha256(packed).hexdigest()}  {name}.gz")
        print(f"{hashlib.sha256(cut).hexdigest()}  {name}")


if __name__ == "__main__":
    main()
