"""Buffers that are used again, and kernels whose values are bound to them."""

import numpy as np
import pytest

from ffedge.engine.room import Memory
from ffedge.engine.session import Kernel, Value
from ffedge.onnx.graph import GraphBuilder, model_bytes


def test_a_buffer_asked_for_again_is_the_same_memory():
    work = Memory(1)
    first = work.buffer("x", (4, 3))
    first.array[...] = np.arange(12).reshape(4, 3)
    assert work.buffer("x", (4, 3)) is first
    np.testing.assert_array_equal(work.buffer("x", (2, 3)).array, [[0, 1, 2], [3, 4, 5]])
    assert np.shares_memory(work.buffer("x", (12,)).array, first.array)
    assert work.buffer_bytes == 12 * 4


def test_a_buffer_grows_to_the_largest_shape_and_stays_there():
    work = Memory(1)
    small = work.buffer("x", (2, 3))
    large = work.buffer("x", (5, 3))
    assert not np.shares_memory(small.array, large.array)
    assert np.shares_memory(work.buffer("x", (2, 3)).array, large.array)
    assert work.buffer_bytes == 15 * 4


def test_names_do_not_share_memory_and_sizes_add_up():
    work = Memory(1)
    assert not np.shares_memory(work.buffer("x", (3,)).array, work.buffer("y", (3,)).array)
    assert work.buffer("loss", ()).array.shape == ()
    assert work.buffer_bytes == 3 * 4 + 3 * 4 + 4


def test_a_value_that_was_given_out_outlives_the_buffers_growth():
    work = Memory(1)
    held = work.buffer("x", (3,))
    held.array[...] = 7
    work.buffer("x", (1000,)).array[...] = 1
    np.testing.assert_array_equal(held.ort.numpy(), [7, 7, 7])


def test_an_array_and_its_value_are_one_memory():
    value = Value(np.zeros(3, np.float32))
    value.array[1] = 5
    np.testing.assert_array_equal(value.ort.numpy(), [0, 5, 0])


def twice():
    g = GraphBuilder("twice")
    g.op("Add", g.input("x", ("N",)), "x", out="y")
    g.output("y", ("N",))
    return model_bytes(g.graph)


def test_a_kernel_writes_into_the_memory_it_was_given():
    kernel = Kernel(twice(), 1)
    assert (kernel.inputs, kernel.outputs) == (("x",), ("y",))
    for size in (3, 5, 3):  # shapes may change from run to run
        x, y = Value(np.arange(size, dtype=np.float32)), Value(np.zeros(size, np.float32))
        kernel.run({"x": x, "unused": y}, {"y": y, "unused": x})
        np.testing.assert_array_equal(y.array, 2 * x.array)


def test_a_kernel_keeps_no_value_of_the_run_before():
    kernel = Kernel(twice(), 1)
    x, y = Value(np.ones(2, np.float32)), Value(np.zeros(2, np.float32))
    kernel.run({"x": x}, {"y": y})
    with pytest.raises(KeyError, match=r"x"):
        kernel.run({}, {"y": y})
