"""Downloads MNIST-like files into the cache, checked against the sha256 of their unpacked bytes.

Unpacked, because mirrors compress the same data differently.
"""

import sys
from pathlib import Path
from typing import IO

from ffedge.data.cache_folder import CHUNK_BYTES, filling, writable_folder, write_whole
from ffedge.data.files import idx_file
from ffedge.data.idx import gunzip, read_header
from ffedge.files import nameless_file

TIMEOUT_S = 30
TRIES = 3


def fetch(name: str, url: str, sha256: dict[str, str], *, progress: bool = False) -> Path:
    """Download the files that the cache lacks; return the folder that holds them all, unpacked.

    Parameters
    ----------
    name : of the data set, and of its folder in the cache.
    url : where its ``.gz`` files are, with the final slash.
    sha256 : from each file's name without ``.gz`` to the sha256 of its unpacked bytes.
    progress : show a bar on stderr.

    Raises
    ------
    DataError
        A file's content differs from what is expected, or the cache cannot be written.
    OSError
        The network or the server cannot be reached.
    """
    folder = writable_folder(name)
    for file, expected in sha256.items():
        if idx_file(folder, file) is None:
            source = f"{url}{file}.gz"
            with nameless_file(folder) as (packed, _):
                _download(source, packed, folder, f"{file}.gz" if progress else "")
                n_bytes = read_header(source, gunzip(packed, source)).n_bytes
                write_whole(folder / file, gunzip(packed, source), n_bytes, source, expected)
    return folder


def _download(url: str, out: IO[bytes], folder: Path, bar: str) -> None:
    """Copy what a server sends to a file in a folder; begin anew where the line drops, but not where it refuses."""
    from http.client import HTTPException
    from urllib.error import HTTPError

    for tries_left in reversed(range(TRIES)):
        out.seek(0)
        out.truncate()
        try:
            _copy(url, out, folder, bar)
            break
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError) or not tries_left:
                raise ConnectionError(str(getattr(error, "reason", error))) from error


def _copy(url: str, out: IO[bytes], folder: Path, bar: str) -> None:
    from urllib.request import Request, urlopen

    # identity: a server that encodes the transfer must not hand over an unpacked file
    request = Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "ffedge"})
    with urlopen(request, timeout=TIMEOUT_S) as answer:
        total, done, shown = answer.length or 0, 0, -1
        while chunk := answer.read(CHUNK_BYTES):
            with filling(folder):
                out.write(chunk)
            done += len(chunk)
            if bar and (percent := min(100, 100 * done // total) if total else 0) != shown:
                print(f"\r{bar} {percent:3d} % of {total / 1e6:.1f} MB", end="", file=sys.stderr, flush=True)
                shown = percent
    if bar:
        print(file=sys.stderr)
    if done < total:
        raise ConnectionError(f"the line dropped after {done} of {total} bytes")
