"""Whether HDF5 can read a file at all: tried in a process of its own, which may be killed.

A damaged or hostile file, whose checksum its maker may have set right, leads HDF5 to take all memory, to search without
end, or to crash.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

MOST_BYTES, BYTES_A_BYTE = 1 << 28, 8  # of memory, and more of it for each byte of the file
MOST_CPU_S, MOST_S = 5, 60


def try_to_read(content: bytes, what: str = "network") -> None:
    """Read a NIR file in another process: a ``network``, or ``traces``.

    Raises
    ------
    ValueError
        It cannot be read, or not within 5 seconds and in memory that fits its size.
    """
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-P", "-m", "ffedge.spikes.trial", what]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    try:
        done = subprocess.run(command, input=content, capture_output=True, check=False, env=environment, timeout=MOST_S)
    except subprocess.TimeoutExpired as error:
        raise ValueError("HDF5 does not come to an end with it") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()
        raise ValueError(said or "HDF5 cannot read it in bounded time and memory")


def _main() -> int:
    """Read what stands on standard input, within limits; print why not."""
    content = sys.stdin.buffer.read()
    import h5py  # before the limits, which are for the file

    from ffedge.meter import anonymous_bytes
    from ffedge.spikes.nir_file import BROKEN, network_of
    from ffedge.spikes.traces import MOST_BYTES as TRACES
    from ffedge.spikes.traces import traces_of

    h5py.get_config()
    read, spare = {"network": (network_of, MOST_BYTES), "traces": (traces_of, 4 * TRACES)}[sys.argv[1]]
    most = anonymous_bytes() + spare + BYTES_A_BYTE * len(content)
    for kind, limit in ((resource.RLIMIT_DATA, most), (resource.RLIMIT_CPU, MOST_CPU_S)):
        resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
    try:
        read(content)
    except (*BROKEN, MemoryError) as error:
        print(str(error) or type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
