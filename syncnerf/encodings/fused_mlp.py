"""Small networks without biases, as fused kernels compute them (Mueller et al. 2021, section 4)."""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.encodings.engines import compute_type
from syncnerf.encodings.mlp_weights import mlp_values
from syncnerf.encodings.small_network import native_network, network_fits
from syncnerf.encodings.tcnn import TcnnModule

ALIGNMENT = 16
"""Inputs and outputs are padded to a multiple of this."""
WIDTHS = (16, 32, 64, 128)


class FusedMLP(nn.Module):
    """ReLU layers of one width, linear at the end, no biases.

    Parameters are one flat tensor in tiny-cuda-nn's layout for every engine: matrix after matrix, each row-major
    [outputs, inputs], the first one's inputs and the last one's outputs padded to multiples of 16. Padded inputs are
    ones, as in tiny-cuda-nn, so that their weights act as biases of the first layer. Initially uniform (Glorot and
    Bengio 2010).

    Args:
        inputs: width of the input.
        outputs: width of the output.
        width: of the hidden layers: 16, 32, 64 or 128.
        hidden_layers: how many, at least 1.
        engine: ``torch``, ``triton`` or ``tcnn``, see :func:`syncnerf.encodings.engines.choose_engine`.
    """

    def __init__(self, inputs: int, outputs: int, width: int, hidden_layers: int, engine: str = "torch"):
        super().__init__()
        if width not in WIDTHS or hidden_layers < 1:
            raise ValueError(f"a fused network has hidden layers of {', '.join(map(str, WIDTHS))} neurons")
        self.inputs, self.outputs, self.width, self.hidden_layers = inputs, outputs, width, hidden_layers
        self.engine = engine
        sides = [_padded(inputs), *[width] * hidden_layers, _padded(outputs)]
        self.shapes = [(after, before) for before, after in itertools.pairwise(sides)]
        parts = [torch.empty(after * before) for after, before in self.shapes]
        for part, shape in zip(parts, self.shapes, strict=True):
            bound = math.sqrt(6.0 / sum(shape))
            part.uniform_(-bound, bound)
        self.weights = nn.Parameter(torch.cat(parts))
        self.tcnn = TcnnModule("Network", (inputs, outputs), self.tcnn_config(), self.weights.numel(), outputs)

    def forward(self, values: Float[Tensor, "N inputs"]) -> Float[Tensor, "N outputs"]:
        """Outputs, shape [N, outputs], of inputs [N, inputs]; float32, or autocast's type inside it."""
        kind = compute_type(values.device)
        if self.engine == "tcnn":
            return self.tcnn(values, self.weights, kind)
        if self.engine == "triton":
            from syncnerf.encodings.fused_mlp_triton import triton_mlp

            return triton_mlp(values.to(kind), self.weights, self.inputs, self.outputs, self.shapes)
        asked = (values.to(kind), self.weights.to(kind), self.inputs, self.outputs, self.shapes)
        return native_network(*asked) if network_fits(asked[0], asked[1], self.shapes) else mlp_values(*asked)

    def tcnn_config(self) -> dict:
        """The same network as tiny-cuda-nn's configuration."""
        return {
            "otype": "FullyFusedMLP",
            "activation": "ReLU",
            "output_activation": "None",
            "n_neurons": self.width,
            "n_hidden_layers": self.hidden_layers,
        }


def _padded(width: int) -> int:
    return ALIGNMENT * math.ceil(width / ALIGNMENT)
