"""The squares of a picture's activity, pooled, for the torch engine."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class PooledSquares(torch.autograd.Function):
    """Means [N, K, rows, columns] of y^2 over the cells of a picture y [N, K, H, W], each of `sides` places.

    In y's own precision: as float32 a picture's squares take four times as long. The gradient, 2 y over the places of
    a cell, is written in one pass, where autograd takes several.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, sides: tuple[int, int]) -> Tensor:  # noqa: D102
        ctx.save_for_backward(y)
        ctx.sides = sides
        return F.avg_pool2d(y.square(), sides)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        (y,), (high, wide) = ctx.saved_tensors, ctx.sides
        height, width = gradient.shape[2] * high, gradient.shape[3] * wide
        cells = y[:, :, :height, :width].unflatten(3, (-1, wide)).unflatten(2, (-1, high))
        slope = (gradient * (2 / (high * wide)))[:, :, :, None, :, None]
        inner = (cells * slope).flatten(4).flatten(2, 3)
        return F.pad(inner, (0, y.shape[3] - width, 0, y.shape[2] - height)), None
