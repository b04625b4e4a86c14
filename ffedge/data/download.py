"""Downloads MNIST-like files into the cache, checked against the sha256 of their unpacked bytes.

Unpacked, because mirrors compress the same data differently.
"""

import sys
import tempfile
from pathlib import Path

from ffedge.data.cache import sha256_of, writable_folder, write_atomically
from ffedge.data.files import idx_file
from ffedge.data.idx import gunzip, read_header
from ffedge.errors import DataError


def fetch(name: str, url: str, sha256: dict[str, str], *, progress: bool = False) -> Path:
    """Download the files that the cache lacks.

    Parameters
    ----------
    name : str
        The data set, and its folder in the cache.
    url : str
        Where its ``.gz`` files are, with the final slash.
    sha256 : dict
        From each file's name without ``.gz`` to the sha256 of its unpacked bytes.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    Path
        The folder with all files, unpacked.

    Raises
    ------
    DataError
        If a file's content differs from what is expected, or the cache cannot be written.
    OSError
        If the network or the server cannot be reached.
    """
    folder = writable_folder(name)
    for file, expected in sha256.items():
        if idx_file(folder, file) is None:
            with tempfile.TemporaryDirectory(dir=folder, prefix="download-") as part:
                packed = Path(part) / f"{file}.gz"
                _download(f"{url}{file}.gz", packed, progress)
                _unpack_checked(packed, folder / file, f"{url}{file}.gz", expected)
    return folder


def _download(url: str, target: Path, progress: bool) -> None:
    import pooch

    bar = Bar(target.name) if progress else False
    # identity: a server that encodes the transfer must not hand over an unpacked file
    get = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, headers={"Accept-Encoding": "identity"})
    get(url, str(target), None)


def _unpack_checked(packed: Path, target: Path, url: str, expected: str) -> None:
    n_bytes = read_header(packed, gunzip(packed)).n_bytes
    unpacked = packed.with_suffix("")
    write_atomically(unpacked, gunzip(packed), n_bytes, packed)
    if (got := sha256_of(unpacked)) != expected:
        raise DataError(
            f"{url}: is not the expected file (its unpacked sha256 is {got}, not {expected}). "
            "Get the file elsewhere and pass its folder with --data-dir."
        )
    unpacked.replace(target)


class Bar:
    """A progress bar on stderr, with the methods that pooch calls."""

    def __init__(self, name: str) -> None:
        """Begin at nothing; pooch sets `total`, in bytes."""
        self.name, self.total, self._done, self._shown = name, 0, 0, -1

    def update(self, n_bytes: int) -> None:
        """Count bytes; print when the percentage changes."""
        self._done += n_bytes
        percent = min(100, 100 * self._done // self.total) if self.total else 0
        if percent != self._shown:
            print(
                f"\r{self.name} {percent:3d} % of {self.total / 1e6:.1f} MB",
                end="",
                file=sys.stderr,
                flush=True,
            )
        self._shown = percent

    def reset(self) -> None:
        """Begin again; pooch does so before it fills the bar."""
        self._done = 0

    def close(self) -> None:
        """End the line."""
        print(file=sys.stderr)
