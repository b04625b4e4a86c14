"""Work on tensors that stay where they are, done over and over: CUDA takes it as one graph, not kernel by kernel."""

import warnings
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

FIRST = 3  # runs before the work is recorded: what libraries and optimisers set up once is no part of it
AHEAD = 16  # runs that may wait for the device: each holds its inputs in memory


class Repeated:
    """Some work, recorded on CUDA as a graph after its first runs, and replayed from then on.

    A graph repeats the kernels, not the Python code: what changes from run to run must stand in tensors that the work
    reads, and the next run writes over what it returned. Other devices run the code each time.

    Parameters
    ----------
    work : returns tensors; it asks the device for no number.
    undo : clears what a recording that failed has left. A warning tells of that, and the code runs each time.

    Notes
    -----
    As torch's documentation asks for it (CUDA semantics, section CUDA Graphs): the first runs and the recording are on
    a stream of their own.
    """

    def __init__(self, device: torch.device, work: Callable[[], list[Tensor]], undo: Callable[[], None]) -> None:
        self._work, self._undo, self._runs = work, undo, 0
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._made: list[Tensor] = []
        self._waiting: deque[torch.cuda.Event] = deque()

    def __call__(self) -> list[Tensor]:
        """Do the work; return what it makes, which the next call may write over."""
        if self._stream is None:
            return self._work()
        if self._runs == FIRST:
            self._record(self._stream)
        self._runs += 1
        if self._graph is not None:
            self._graph.replay()
        else:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
            with torch.cuda.stream(self._stream):
                self._made = self._work()
            torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)
        self._wait(self._stream.device)
        return self._made

    def _record(self, stream: torch.cuda.Stream) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                self._made = self._work()
        except RuntimeError as error:
            self._undo()
            reason = str(error).splitlines()[0]
            warnings.warn(f"CUDA records no graph of a step ({reason}): training goes on, and is slower", stacklevel=2)
        else:
            self._graph = graph

    def _wait(self, device: torch.device) -> None:
        """Wait for the run that is `AHEAD` runs before this one."""
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(device))
        self._waiting.append(done)
        if len(self._waiting) > AHEAD:
            self._waiting.popleft().synchronize()
