"""How much memory a graph's own values take while it runs: which of them live at once, from their sizes."""

from collections.abc import Callable, Iterable, Sequence

Line = tuple[int, int]  # bytes = first + second * samples
Operation = tuple[str, tuple[str, ...], tuple[str, ...]]  # operator, what it reads, what it makes
FEW_SAMPLES = 2
VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Identity"}
IN_PLACE = {"Add", "Sub", "Mul", "Div", "Relu", "Clip", "Sqrt", "Exp", "Log", "Neg", "Sigmoid", "Softplus"}


def lines_of(peaks_at: Callable[[int], Iterable[int]]) -> list[Line]:
    """Return lines whose greatest value is the most bytes that live at once, from the peaks at two counts of samples.

    Not at one sample, whose values may be as large as one that all samples share, and be written over it.
    """
    few, more = FEW_SAMPLES, FEW_SAMPLES + 1
    lines = {(more * a - few * b, b - a) for a, b in zip(peaks_at(few), peaks_at(more), strict=True)}
    return sorted(line for line in lines if not any(_below(line, other) for other in lines))


def most_bytes(lines: Sequence[Line], samples: int) -> int:
    """Return what the lines say for a number of samples."""
    return max((start + slope * samples for start, slope in lines), default=0)


def _below(line: Line, other: Line) -> bool:
    return line != other and line[0] <= other[0] and line[1] <= other[1]


def peaks(nodes: Sequence[Operation], outputs: set[str], sizes: dict[str, int]) -> list[int]:
    """Return the bytes that live while each node runs.

    Values are counted from the node that makes them to the last that reads them. Views, and results that an operator
    writes over an operand which nobody reads later, take nothing; nor do outputs, whose memory is the caller's.

    Parameters
    ----------
    sizes : bytes of the values that nodes make; what is not named takes nothing.
    """
    last = {name: i for i, (_, inputs, _) in enumerate(nodes) for name in inputs}
    root: dict[str, str] = {}  # a view's own memory
    live: dict[str, int] = {}
    ends: dict[str, int] = {}
    result = []
    for i, (kind, inputs, made) in enumerate(nodes):
        operands = [root.get(name, name) for name in inputs]
        for name in made:
            if name in outputs:
                continue
            end, size = last.get(name, i), sizes.get(name, 0)
            taken = next((o for o in operands if o in live and (kind in VIEWS or ends.get(o, -1) <= i)), None)
            if kind in VIEWS and operands[0] not in live:
                continue  # a view of an input or a constant
            if taken is not None and (kind in VIEWS or (kind in IN_PLACE and live[taken] == size)):
                root[name] = taken
                ends[taken] = max(ends[taken], end)
            else:
                live[name], ends[name] = size, end
        result.append(sum(live.values()))
        for name in [n for n in live if ends[n] <= i]:
            del live[name]
    return result
