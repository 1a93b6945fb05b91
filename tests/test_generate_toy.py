"""Does the module do what it says? A toy world in which synchrony shows: a ball is in the same row of all views.

A random tiny Wan learns single views, is frozen, and only the module is trained on pairs. The same module with the
same parameters and training, its attention kept to its own view, is the control.
"""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers")

from syncnerf.generate.adapter import ViewSyncAdapter
from syncnerf.generate.denoising import TRAINED_LEVELS, noise_levels
from syncnerf.generate.flow_loss import draw_levels, flow_loss

FRAMES, SIDE, BATCH, SHIFT = 2, 4, 32, 2.0
GRID = (torch.arange(SIDE) + 0.5) / SIDE * 4 - 2


@dataclass
class Balls:
    """Draws random worlds of one ball on a straight path, seen by orthographic cameras around the vertical axis."""

    generator: torch.Generator

    def draw(self, count: int, views: int) -> tuple[Tensor, Tensor]:
        """Videos [B, V, 1, F, 4, 4] and poses [B, V, F, 12]."""
        ends = 3 * torch.rand(count, 3, FRAMES, generator=self.generator) - 1.5
        angles = 2 * math.pi * torch.rand(count, views, generator=self.generator)
        x, y, z = (ends[:, axis, None] for axis in range(3))
        across = angles.cos()[..., None] * x + angles.sin()[..., None] * z
        columns = (GRID - across[..., None]).square()[..., None, :]
        rows = (GRID - y.expand_as(across)[..., None]).square()[..., :, None]
        videos = 2 * torch.exp(-(columns + rows)) - 0.5
        turn = angles - angles[:, :1]
        zero, one = torch.zeros_like(turn), torch.ones_like(turn)
        pose = torch.stack(
            [turn.cos(), zero, turn.sin(), zero, zero, one, zero, zero, -turn.sin(), zero, turn.cos(), zero], dim=-1
        )
        return videos[:, :, None], pose[:, :, None].expand(-1, -1, FRAMES, -1)


def toy_model() -> ViewSyncAdapter:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    model = WanTransformer3DModel(
        patch_size=(1, 1, 1), num_attention_heads=2, attention_head_dim=12, in_channels=1, out_channels=1, text_dim=8,
        freq_dim=16, ffn_dim=48, num_layers=2, rope_max_seq_len=8,
    )  # fmt: skip
    return ViewSyncAdapter(model)


def alone(values: Tensor) -> Tensor:
    """Each view as a scene by itself: the module's attention then sees no other."""
    return values.flatten(0, 1)[:, None]


def train(adapter: ViewSyncAdapter, parameters: list, world: Balls, views: int, steps: int, own: bool = False) -> None:
    """Adam on fresh worlds; ``own``: each view is a scene by itself."""
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 5e-3 * min(1.0, 2 * (1 - step / steps))
        latents, poses = world.draw(BATCH // views, views)
        levels = draw_levels(BATCH // views, world.generator, SHIFT)
        if own:
            latents, poses, levels = alone(latents), alone(poses), levels.repeat_interleave(views)
        noise = torch.randn(latents.shape, generator=world.generator)
        with adapter.cameras(poses):
            loss = flow_loss(adapter, latents, torch.zeros(len(latents), 1, 8), levels, noise).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        optimizer.step()


@torch.no_grad()
def correlation_of_rows(adapter: ViewSyncAdapter, world: Balls, own: bool, pairs: int = 128) -> float:
    """Correlation between the ball's rows in the two generated views of many worlds, over all frames."""
    _, poses = world.draw(pairs, 2)
    poses = alone(poses) if own else poses
    videos, levels = torch.randn(2 * pairs, 1, FRAMES, SIDE, SIDE, generator=world.generator), noise_levels(12, SHIFT)
    for level, following in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        with adapter.cameras(poses):
            times = torch.full((len(videos),), TRAINED_LEVELS * level)
            velocity = adapter.transformer(videos, times, torch.zeros(len(videos), 1, 8), return_dict=False)[0]
        videos = videos + (following - level) * velocity
    weight = (videos[:, 0] + 0.5).clamp_min(0).sum(-1)
    rows = (weight * GRID).sum(-1) / weight.sum(-1).clamp_min(1e-3)
    return float(torch.corrcoef(rows.unflatten(0, (pairs, 2)).transpose(0, 1).flatten(1))[0, 1])


@pytest.mark.slow
def test_views_move_together_with_the_module_and_not_without():
    adapter, world = toy_model(), Balls(torch.Generator().manual_seed(1))
    train(adapter, [p for n, p in adapter.transformer.named_parameters() if ".view_sync." not in n], world, 1, 500)
    trained = adapter.freeze_base()
    for module, block in zip(adapter.modules, adapter.transformer.blocks, strict=True):
        module.attention.load_state_dict(block.attn1.state_dict())
        module.modulation.data.copy_(block.scale_shift_table[:, :3])
    start = {name: value.clone() for name, value in adapter.state_dict().items()}
    found = {}
    for own in (True, False):
        adapter.transformer.load_state_dict(start, strict=False)
        train(adapter, trained, world, 2, 400, own)
        found[own] = correlation_of_rows(adapter, world, own)
        print(own, found[own], flush=True)
    assert found[False] > 0.6
    assert abs(found[True]) < 0.2
