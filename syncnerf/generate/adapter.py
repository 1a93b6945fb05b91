"""The module in every block of diffusers' Wan: child modules and hooks, nothing of the model is copied or changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from syncnerf.errors import UserError
from syncnerf.generate.view_sync import ViewSync

CHILD = "view_sync"
"""Name under which a block holds its module."""


class ViewSyncAdapter:
    """A Wan transformer whose views see each other while cameras are set, and that is plain Wan otherwise.

    A block of Wan ends its attention to the text with ``x = x + attn2(norm2(x))``, and the module belongs before it.
    So a hook before ``norm2`` (which is given the residual stream) adds the module's ``delta`` to what that sees, and
    one after ``attn2`` adds it to the answer: ``x + delta + attn2(norm2(x + delta))``, as if it stood in the block.

    As children of the blocks the modules follow ``.to()``, offloading and gradient checkpointing.

    Args:
        transformer: diffusers' ``WanTransformer3DModel``.

    Raises:
        UserError: it is of a kind, or in a state, that the module does not go with.
    """

    def __init__(self, transformer: nn.Module):
        _check(transformer)
        self.transformer = transformer
        self._poses: Tensor | None = None
        self._rotary: tuple[Tensor, Tensor] | None = None
        self._handles = [transformer.register_forward_pre_hook(self._before_model, with_kwargs=True)]
        for block in transformer.blocks:
            module = ViewSync(block)
            block.add_module(CHILD, module)
            self._handles += _BlockHooks(self, module).register(block)
        # Its files would hold tensors that no plain Wan knows.
        transformer.save_pretrained = _refuse_saving

    @property
    def modules(self) -> list[ViewSync]:
        """The module of each block."""
        return [getattr(block, CHILD) for block in self.transformer.blocks]

    @contextmanager
    def cameras(self, poses: Float[Tensor, "B V F 12"]) -> Iterator[None]:
        """Let views see each other inside.

        With gradient checkpointing the backward pass must lie inside too, since it computes the blocks again.

        Args:
            poses: of B scenes of V views, shape [B, V, F, 12]; the model is then given B * V videos of F latent frames,
                the views of a scene one after the other.
        """
        self._poses = poses
        try:
            yield
        finally:
            self._poses = self._rotary = None

    def freeze_base(self) -> list[nn.Parameter]:
        """Leave gradients to the modules alone; returns their parameters."""
        self.transformer.requires_grad_(False)
        parameters = [parameter for module in self.modules for parameter in module.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(True)
        return parameters

    def state_dict(self) -> dict[str, Float[Tensor, " ..."]]:
        """The modules' tensors under their names in the transformer, ``blocks.<i>.view_sync....``."""
        return {name: value for name, value in self.transformer.state_dict().items() if f".{CHILD}." in name}

    def remove(self) -> None:
        """Make the transformer plain Wan again."""
        for handle in self._handles:
            handle.remove()
        for block in self.transformer.blocks:
            delattr(block, CHILD)
        del self.transformer.save_pretrained

    def _before_model(self, _: nn.Module, arguments: tuple, keywords: dict[str, Any]) -> None:
        """Check what the model is given against the cameras, and look up the rotary positions."""
        if self._poses is None:
            return
        if self.transformer.is_cache_enabled:
            raise UserError("the transformer skips blocks (a cache is enabled); call its disable_cache() first")
        latents = arguments[0] if arguments else keywords["hidden_states"]
        scenes, views, frames = self._poses.shape[:3]
        if len(latents) != scenes * views or latents.shape[2] != frames:
            raise ValueError(
                f"{len(latents)} videos of {latents.shape[2]} latent frames for cameras of {scenes} scenes of {views} "
                f"views, {frames} frames"
            )
        longest = self.transformer.rope.max_seq_len
        if views > longest:
            raise UserError(f"{views} views: the model has positions for {longest} at most")
        # The model's own table for V frames of one latent frame's size: no rotary mathematics of ours.
        blank = latents.new_empty(1, 1, views, *latents.shape[3:])
        self._rotary = self.transformer.rope(blank)

    def delta(
        self, module: ViewSync, hidden: Float[Tensor, "N tokens D"], time: Float[Tensor, "N ... 6 D"]
    ) -> Float[Tensor, "N tokens D"] | None:
        """What a module adds to the residual stream; None while no cameras are set."""
        if self._poses is None:
            return None
        if time.ndim == 4:
            raise UserError("the model has a time for every token (Wan 2.2 5B); give a Wan 2.1 text-to-video folder")
        return module(hidden, time, self._poses, self._rotary)


class _BlockHooks:
    """The three hooks of one block, and what they hand from one to the next."""

    def __init__(self, adapter: ViewSyncAdapter, module: ViewSync):
        self.adapter, self.module = adapter, module
        self.time: Tensor | None = None
        self.delta: Tensor | None = None

    def register(self, block: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        """Register the hooks on the block."""
        return [
            block.register_forward_pre_hook(self.before_block),
            block.norm2.register_forward_pre_hook(self.before_norm),
            block.attn2.register_forward_hook(self.after_attention),
        ]

    def before_block(self, _: nn.Module, arguments: tuple) -> None:
        """Keep the time vectors, the block's third argument."""
        self.time = arguments[2]

    def before_norm(self, _: nn.Module, arguments: tuple) -> tuple | None:
        """Show the residual stream with the module's change to what comes next."""
        self.delta = self.adapter.delta(self.module, arguments[0], self.time)
        return None if self.delta is None else (arguments[0] + self.delta, *arguments[1:])

    def after_attention(self, _: nn.Module, __: tuple, output: Tensor) -> Tensor:
        """Add the change to the residual stream itself."""
        delta, self.delta, self.time = self.delta, None, None
        return output if delta is None else output + delta.type_as(output)


def _check(transformer: nn.Module) -> None:
    """Raise UserError for a model that the module does not go with."""
    blocks = getattr(transformer, "blocks", None)
    if blocks is None or not all(hasattr(blocks[0], name) for name in ("norm2", "attn2", "scale_shift_table")):
        raise UserError("the transformer is not diffusers' WanTransformer3DModel; give a Wan 2.1 text-to-video folder")
    if hasattr(blocks[0], CHILD):
        raise UserError("the transformer holds view synchronisation already; remove() that first")
    if transformer.config.image_dim is not None or transformer.config.in_channels != transformer.config.out_channels:
        raise UserError("the transformer is an image-to-video one; give a Wan 2.1 text-to-video folder")
    if getattr(transformer, "_parallel_config", None) is not None:
        raise UserError("the transformer is split over several devices (context parallelism); load it without")


def _refuse_saving(*_: Any, **__: Any) -> NoReturn:
    raise UserError("view synchronisation is attached; write it with write_view_sync, and remove() it before saving")
