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
from syncnerf.generate.flow_loss import draw_levels, flow_loss
from syncnerf.generate.sampler import Progress, Sampler, groups, noise_levels

FRAMES, SIDE = 5, 8
NO_TEXT = torch.zeros(1, 16)


@dataclass
class Balls:
    """Draws random worlds of one ball on a smooth path, seen by orthographic cameras around the vertical axis."""

    generator: torch.Generator

    def draw(self, count: int, views: int) -> tuple[Tensor, Tensor]:
        """Videos [B, V, 2, F, 8, 8] (the ball; the ball by its depth) and poses [B, V, F, 12]."""
        ends = 2.4 * torch.rand(count, 3, 2, generator=self.generator) - 1.2
        along = torch.linspace(0, 1, FRAMES)
        path = ends[..., :1] * (1 - along) + ends[..., 1:] * along
        angles = 2 * math.pi * torch.rand(count, views, generator=self.generator)
        cosine, sine = angles.cos()[..., None], angles.sin()[..., None]
        x, y, z = (path[:, axis, None] for axis in range(3))
        across, depth = cosine * x + sine * z, cosine * z - sine * x
        grid = (torch.arange(SIDE) + 0.5) / SIDE * 4 - 2
        columns = (grid - across[..., None]).square()[..., None, :]
        rows = (grid - y.expand_as(across)[..., None]).square()[..., :, None]
        ball = 2 * torch.exp(-(columns + rows) / 0.5)
        videos = torch.stack([ball - 0.5, ball * depth[..., None, None]], dim=2)
        turn = angles - angles[:, :1]
        zero, one = torch.zeros_like(turn), torch.ones_like(turn)
        pose = torch.stack(
            [turn.cos(), zero, turn.sin(), zero, zero, one, zero, zero, -turn.sin(), zero, turn.cos(), zero], dim=-1
        )
        return videos, pose[:, :, None].expand(-1, -1, FRAMES, -1)


def toy_model() -> ViewSyncAdapter:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=24, in_channels=2, out_channels=2, text_dim=16,
        freq_dim=32, ffn_dim=96, num_layers=3, rope_max_seq_len=16,
    )  # fmt: skip
    return ViewSyncAdapter(model)


def train(adapter: ViewSyncAdapter, parameters, world: Balls, views: int, steps: int, rate: float, own: bool) -> None:
    """Adam on fresh worlds; ``own``: each view is a scene by itself."""
    parameters = list(parameters)
    optimizer = torch.optim.Adam(parameters, lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, 2 * (1 - step / steps))
        latents, poses = world.draw(32 // views, views)
        if own:
            latents, poses = latents.flatten(0, 1)[:, None], poses.flatten(0, 1)[:, None]
        levels = draw_levels(32 // views, world.generator, shift=2.0)
        if own:
            levels = levels.repeat_interleave(views)
        noise = torch.randn(latents.shape, generator=world.generator)
        with adapter.cameras(poses):
            loss = flow_loss(adapter, latents, NO_TEXT.expand(len(latents), 1, 16), levels, noise).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def correlation_of_rows(adapter: ViewSyncAdapter, world: Balls, own: bool, pairs: int = 48) -> float:
    """Correlation between two generated views of the ball's row over all frames."""
    levels, rows = noise_levels(16, shift=2.0), []
    grid = (torch.arange(SIDE) + 0.5) / SIDE * 4 - 2
    for _ in range(pairs):
        noise = torch.randn(2, 2, FRAMES, SIDE, SIDE, generator=world.generator)
        _, poses = world.draw(1, 2)
        if own:
            videos = torch.cat(
                [sample(adapter, poses[0, view : view + 1], noise[view : view + 1], levels) for view in (0, 1)]
            )
        else:
            videos = sample(adapter, poses[0], noise, levels)
        weight = (videos[:, 0] + 0.5).clamp_min(0).sum(-1)
        rows.append((weight * grid).sum(-1) / weight.sum(-1).clamp_min(1e-3))
    both = torch.stack(rows, dim=1).flatten(1)
    return float(torch.corrcoef(both)[0, 1])


def sample(adapter: ViewSyncAdapter, poses: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
    sampler = Sampler(adapter, poses, NO_TEXT[0], NO_TEXT[0], 1.0, levels)
    return sampler.run(noise, groups(len(noise), False), Progress(noise), lambda _: None)


@pytest.mark.slow
def test_views_move_together_with_the_module_and_not_without(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    adapter = toy_model()
    world = Balls(torch.Generator().manual_seed(1))
    base = [p for name, p in adapter.transformer.named_parameters() if ".view_sync." not in name]
    train(adapter, base, world, 1, 900, 3e-3, own=False)
    trained = adapter.freeze_base()
    for module, block in zip(adapter.modules, adapter.transformer.blocks, strict=True):
        module.attention.load_state_dict(block.attn1.state_dict())
        module.modulation.data.copy_(block.scale_shift_table[:, :3])
    start = {name: value.clone() for name, value in adapter.state_dict().items()}
    found = {}
    for own in (True, False):
        adapter.transformer.load_state_dict(start, strict=False)
        train(adapter, trained, world, 2, 300, 3e-3, own)
        found[own] = correlation_of_rows(adapter, world, own)
    print(found)
    assert found[False] > 0.6
    assert abs(found[True]) < 0.2
