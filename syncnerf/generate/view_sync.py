"""The view-synchronisation module of SynCamMaster (Bai et al., ICLR 2025, arXiv 2412.07760), for one block of Wan."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

POSE_SIZE = 12
"""Numbers of a pose: the rows of ``[R | t]`` of a camera relative to the first."""


class ViewSync(nn.Module):
    """Attention over all tokens of all views of one latent frame, with each view's pose added to what it sees.

    With ``shift, scale, gate = modulation + time[:3]`` and ``n`` a layer norm without parameters, the residual stream
    ``x`` of the block changes by::

        y = n(x) * (1 + scale) + shift + camera(pose)
        delta = gate * out(attention(y over views, rows and columns of a frame))

    Rotary positions are those of the base model with the view's number in the place of the frame's. ``camera`` and
    ``out`` start at zero, so that a fresh module changes nothing; attention and modulation start as the block's own.

    Args:
        block: the block of the base model that it goes with; gives sizes and starting values.
    """

    def __init__(self, block: nn.Module):
        super().__init__()
        from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor

        own = block.attn1
        width = own.to_q.in_features
        self.norm = nn.LayerNorm(width, eps=block.norm1.eps, elementwise_affine=False)
        self.camera = nn.Linear(POSE_SIZE, width)
        self.attention = WanAttention(
            width, own.heads, own.inner_dim // own.heads, own.norm_q.eps, processor=WanAttnProcessor()
        )
        self.out = nn.Linear(width, width)
        self.modulation = nn.Parameter(block.scale_shift_table.detach()[:, :3].clone())
        self.attention.load_state_dict(own.state_dict())
        for layer in (self.camera, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.to(own.to_q.weight)

    def forward(
        self,
        hidden: Float[Tensor, "N tokens D"],
        time: Float[Tensor, "N 6 D"],
        poses: Float[Tensor, "B V F 12"],
        rotary: tuple[Float[Tensor, "1 places 1 head"], Float[Tensor, "1 places 1 head"]],
    ) -> Float[Tensor, "N tokens D"]:
        """What the residual stream changes by.

        Args:
            hidden: residual stream, shape [B * V, F * S, D]: B scenes of V views, F latent frames of S tokens.
            time: the base model's time vectors, shape [B * V, 6, D].
            poses: relative poses, shape [B, V, F, 12].
            rotary: cosines and sines for V x S positions, shape [1, V * S, 1, head size].

        Returns:
            Shape [B * V, F * S, D], of the module's number type.
        """
        scenes, views, frames = poses.shape[:3]
        kind = self.out.weight.dtype
        shift, scale, gate = (self.modulation.float() + time[:, :3].float()).unbind(1)
        seen = self.norm(hidden.float()) * (1 + scale[:, None]) + shift[:, None]
        seen = seen.unflatten(0, (scenes, views)).unflatten(2, (frames, -1)).to(kind)
        seen = seen + self.camera(poses.to(seen))[:, :, :, None]
        # Views and tokens of one frame come together: [B, V, F, S, D] -> [B * F, V * S, D].
        joined = seen.transpose(1, 2).flatten(2, 3).flatten(0, 1)
        answered = self.out(self.attention(joined, rotary_emb=rotary))
        answered = answered.unflatten(0, (scenes, frames)).unflatten(2, (views, -1))
        answered = answered.transpose(1, 2).flatten(2, 3).flatten(0, 1)
        return (gate[:, None] * answered.float()).to(kind)
