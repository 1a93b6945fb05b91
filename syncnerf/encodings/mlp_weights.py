"""A small network from one flat tensor of weights, with plain torch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def mlp_values(
    values: Float[Tensor, "N inputs"],
    weights: Float[Tensor, " W"],
    inputs: int,
    outputs: int,
    shapes: list[tuple[int, int]],
) -> Float[Tensor, "N outputs"]:
    """The network with plain torch: what the other engines are tested against.

    Args:
        values: shape [N, inputs].
        weights: flat, of the values' type.
        inputs: width of the input without padding.
        outputs: width of the output without padding.
        shapes: [outputs, inputs] of every matrix, padded.
    """
    first, *hidden, last = split_weights(weights, shapes)
    values = torch.relu(nn.functional.linear(values, first[:, :inputs], first[:, inputs:].sum(dim=1)))
    for matrix in hidden:
        values = torch.relu(nn.functional.linear(values, matrix))
    return nn.functional.linear(values, last[:outputs])


def split_weights(weights: Float[Tensor, " W"], shapes: list[tuple[int, int]]) -> list[Float[Tensor, "_ _"]]:
    """The matrices of a flat tensor of weights."""
    parts = weights.split([rows * columns for rows, columns in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
