"""The engine of tiny-cuda-nn (Mueller 2021, https://github.com/NVlabs/tiny-cuda-nn): its kernels, our parameters."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.errors import UserError


class TcnnModule:
    """A module of tinycudann that is called with parameters from outside; made on first use, where CUDA is needed.

    Args:
        kind: ``Encoding`` or ``Network``.
        sizes: its first arguments: inputs, and for a network outputs.
        config: tiny-cuda-nn's configuration of it.
        parameters: how many parameters it must have for ours to fit.
        outputs: width of the answer; padding beyond it is cut off.
    """

    def __init__(self, kind: str, sizes: tuple[int, ...], config: dict[str, Any], parameters: int, outputs: int):
        self.kind, self.sizes, self.config = kind, sizes, config
        self.parameters, self.outputs = parameters, outputs
        self._modules: dict[torch.dtype, nn.Module] = {}

    def __call__(
        self, inputs: Float[Tensor, "N inputs"], parameters: Float[Tensor, " P"], number_type: torch.dtype
    ) -> Float[Tensor, "N outputs"]:
        """Values, shape [N, outputs], of inputs [N, ...] with flat parameters in tiny-cuda-nn's layout.

        Raises:
            UserError: this tinycudann lays parameters out in another way.
        """
        # Encodings also come with 32-bit numbers; networks compute with 16 bits whatever is asked.
        precise = self.kind == "Encoding" and number_type == torch.float32
        module = self._module(torch.float32 if precise else torch.float16)
        values = torch.func.functional_call(module, {"params": parameters}, (inputs.float(),))
        return values[:, : self.outputs].to(number_type)

    def _module(self, precision: torch.dtype) -> nn.Module:
        if precision not in self._modules:
            tinycudann = importlib.import_module("tinycudann")
            options = {"dtype": precision} if self.kind == "Encoding" else {}
            module = getattr(tinycudann, self.kind)(*self.sizes, self.config, **options)
            if module.params.numel() != self.parameters:
                raise UserError(
                    f"engine = tcnn: this tinycudann keeps {module.params.numel()} parameters where "
                    f"{self.parameters} are expected ({self.config['otype']}); use --engine triton"
                )
            self._modules[precision] = module
        return self._modules[precision]
