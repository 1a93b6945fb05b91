"""Small fully connected networks."""

from torch import nn


def mlp(inputs: int, outputs: int, width: int, hidden_layers: int, bias: bool = False) -> nn.Sequential:
    """A network of ``hidden_layers`` layers of ``width`` with ReLU between, linear at the end; no bias by default.

    Takes [N, inputs], returns [N, outputs].
    """
    layers: list[nn.Module] = []
    for layer in range(hidden_layers):
        layers += [nn.Linear(inputs if layer == 0 else width, width, bias=bias), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(width if hidden_layers else inputs, outputs, bias=bias))
