"""The module in diffusers' Wan: nothing at first, then exactly what a plain reference computes."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, softmax

pytest.importorskip("diffusers")
from tiny_wan import LATENT_CHANNELS, released_checkpoint, shake, tiny_transformer

from syncnerf.errors import UserError
from syncnerf.generate.adapter import ViewSyncAdapter

TEXT = 5


def inputs(scenes: int, views: int, frames: int = 3, height: int = 4, width: int = 6, seed: int = 0):
    """Latents, levels, texts (one level and text per scene) and poses."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    latents = draw(scenes * views, LATENT_CHANNELS, frames, height, width)
    times = (1000 * torch.rand(scenes, generator=generator)).repeat_interleave(views)
    texts = draw(scenes, TEXT, 16).repeat_interleave(views, 0)
    return latents, times, texts, draw(scenes, views, frames, 12)


def plain_positions(sizes: tuple[int, int, int], head: int) -> Tensor:
    """Rotary phases as complex numbers of all (first, row, column), shape [positions, head / 2]."""
    share = 2 * (head // 6)
    parts = (head - 2 * share, share, share)
    grids = torch.meshgrid(*(torch.arange(size, dtype=torch.float64) for size in sizes), indexing="ij")
    phases = []
    for grid, part in zip(grids, parts, strict=True):
        rates = 10000.0 ** (-torch.arange(0, part, 2, dtype=torch.float64) / part)
        phases.append(grid.reshape(-1, 1) * rates)
    angles = torch.cat(phases, dim=1)
    return torch.polar(torch.ones_like(angles), angles)


def plain_attention(
    query: Tensor, context: Tensor, w: dict[str, Tensor], name: str, positions: Tensor | None
) -> Tensor:
    """Attention of two heads with RMS norm over the whole width, [N, D] each; one sequence at a time."""

    def project(x: Tensor, part: str) -> Tensor:
        return linear(x, w[f"{name}.{part}.weight"], w[f"{name}.{part}.bias"])

    def normed(x: Tensor, part: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.norm_{part}.weight"]

    q, k, v = normed(project(query, "q"), "q"), normed(project(context, "k"), "k"), project(context, "v")
    answers = []
    for head in range(2):
        own = slice(12 * head, 12 * head + 12)
        q_head, k_head = q[:, own], k[:, own]
        if positions is not None:
            q_head, k_head = (
                torch.view_as_real(torch.view_as_complex(x.double().reshape(len(x), -1, 2)) * positions)
                .flatten(1)
                .float()
                for x in (q_head, k_head)
            )
        answers.append(softmax(q_head @ k_head.T / math.sqrt(12), dim=-1) @ v[:, own])
    return project(torch.cat(answers, dim=-1), "o")


def plain_model(w: dict[str, Tensor], latents: Tensor, time: float, text: Tensor, poses: Tensor) -> Tensor:
    """Wan with view synchronisation for one scene, written out from the papers with the released names; no hooks.

    Args:
        w: a released checkpoint.
        latents: [V, C, F, H, W].
        time: level, of 1000.
        text: [L, E].
        poses: [V, F, 12].
    """
    views, _, frames, height, width = latents.shape
    rows, columns, depth = height // 2, width // 2, 24

    def dense(x: Tensor, name: str) -> Tensor:
        return linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    rates = torch.exp(-math.log(10000) * torch.arange(16) / 16)
    waves = torch.cat([(time * rates).cos(), (time * rates).sin()])
    vector = dense(nn.functional.silu(dense(waves, "time_embedding.0")), "time_embedding.2")
    six = dense(nn.functional.silu(vector), "time_projection.1").reshape(6, depth)
    words = dense(nn.functional.gelu(dense(text, "text_embedding.0"), approximate="tanh"), "text_embedding.2")
    kernel = w["patch_embedding.weight"].reshape(depth, -1)
    patches = latents.transpose(1, 2).reshape(views, frames, -1, rows, 2, columns, 2).permute(0, 1, 3, 5, 2, 4, 6)
    x = patches.reshape(views, frames, rows * columns, -1) @ kernel.T + w["patch_embedding.bias"]

    def norm(value: Tensor) -> Tensor:
        return layer_norm(value, (depth,), eps=1e-6)

    inside, across = plain_positions((frames, rows, columns), 12), plain_positions((views, rows, columns), 12)
    for b in range(2):
        name = f"blocks.{b}"
        m = w[f"{name}.modulation"][0] + six
        seen = norm(x) * (1 + m[1]) + m[0]
        x = x + m[2] * torch.stack(
            [plain_attention(y, y, w, f"{name}.self_attn", inside) for y in seen.flatten(1, 2)]
        ).reshape(x.shape)
        s = w[f"{name}.modulation_mvs"][0] + six[:3]
        seen = norm(x) * (1 + s[1]) + s[0] + dense(poses, f"{name}.cam_encoder")[:, :, None]
        change = torch.zeros_like(x)
        for f in range(frames):
            together = seen[:, f].reshape(-1, depth)
            answer = plain_attention(together, together, w, f"{name}.mvs_attn", across)
            change[:, f] = dense(answer, f"{name}.projector").reshape(views, -1, depth)
        x = x + s[2] * change
        normed = layer_norm(x, (depth,), w[f"{name}.norm3.weight"], w[f"{name}.norm3.bias"], 1e-6)
        x = x + torch.stack(
            [plain_attention(y, words, w, f"{name}.cross_attn", None) for y in normed.flatten(1, 2)]
        ).reshape(x.shape)
        seen = norm(x) * (1 + m[4]) + m[3]
        x = x + m[5] * dense(nn.functional.gelu(dense(seen, f"{name}.ffn.0"), approximate="tanh"), f"{name}.ffn.2")
    shift, scale = w["head.modulation"][0] + vector
    x = dense(norm(x) * (1 + scale) + shift, "head.head")
    x = x.reshape(views, frames, rows, columns, 2, 2, -1).permute(0, 6, 1, 2, 4, 3, 5)
    return x.reshape(views, -1, frames, height, width)


@pytest.mark.parametrize(("scenes", "views"), [(1, 2), (2, 2), (1, 5)])
def test_a_fresh_module_changes_no_bit(scenes, views):
    model = tiny_transformer()
    latents, times, texts, poses = inputs(scenes, views)
    with torch.no_grad():
        plain = model(latents, times, texts).sample
        adapter = ViewSyncAdapter(model)
        with adapter.cameras(poses):
            assert torch.equal(model(latents, times, texts).sample, plain)
        shake(adapter)
        with adapter.cameras(poses):
            assert not torch.allclose(model(latents, times, texts).sample, plain, atol=1e-3)
        assert torch.equal(model(latents, times, texts).sample, plain)  # no cameras: plain Wan
        adapter.remove()
        assert torch.equal(model(latents, times, texts).sample, plain)
    assert model.state_dict().keys() == tiny_transformer().state_dict().keys()


@pytest.mark.parametrize(
    ("scenes", "views", "frames", "height", "width"),
    [(1, 1, 2, 4, 4), (1, 2, 3, 4, 6), (2, 2, 3, 6, 2), (1, 3, 1, 2, 10), (1, 4, 2, 2, 4), (2, 5, 2, 4, 4)],
)
def test_equals_a_plain_reference(scenes, views, frames, height, width):
    model = tiny_transformer()
    adapter = ViewSyncAdapter(model)
    shake(adapter)
    weights = released_checkpoint(model)
    latents, times, texts, poses = inputs(scenes, views, frames, height, width)
    with torch.no_grad(), adapter.cameras(poses):
        found = model(latents, times, texts).sample
    for scene in range(scenes):
        own = slice(scene * views, (scene + 1) * views)
        expected = plain_model(weights, latents[own], float(times[own][0]), texts[own][0], poses[scene])
        assert expected.abs().max() > 0.5
        torch.testing.assert_close(found[own], expected, atol=2e-5, rtol=1e-4)


def test_bfloat16_follows_the_reference_to_its_own_precision():
    model = tiny_transformer()
    adapter = ViewSyncAdapter(model)
    shake(adapter)
    latents, times, texts, poses = inputs(1, 3)
    exact = plain_model(released_checkpoint(model), latents, float(times[0]), texts[0], poses[0])
    model.to(torch.bfloat16)
    with torch.no_grad(), adapter.cameras(poses):
        short = model(latents.bfloat16(), times, texts.bfloat16()).sample
    assert short.dtype == torch.bfloat16
    assert (short.float() - exact).abs().max() < 0.03 * exact.abs().max()


def test_nothing_leaks_between_scenes():
    model = tiny_transformer()
    adapter = ViewSyncAdapter(model)
    shake(adapter)
    latents, times, texts, poses = inputs(2, 3)
    with torch.no_grad(), adapter.cameras(poses):
        before = model(latents, times, texts).sample
        latents[3:] += 1.0
        after = model(latents, times, texts).sample
    assert torch.equal(before[:3], after[:3])
    assert not torch.allclose(before[3:], after[3:], atol=1e-3)


def test_nothing_leaks_between_frames_inside_the_module():
    model = tiny_transformer()
    adapter = ViewSyncAdapter(model)
    shake(adapter)
    module = adapter.modules[0]
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(2, 3 * 6, 24, generator=generator)
    time, poses = torch.randn(2, 6, 24, generator=generator), torch.randn(1, 2, 3, 12, generator=generator)
    rotary = model.rope(torch.zeros(1, 1, 2, 4, 6))
    with torch.no_grad():
        before = module(hidden, time, poses, rotary)
        hidden[1, 6:12] += 1.0  # the second view's second frame
        after = module(hidden, time, poses, rotary)
    changed = (before != after).any(-1).reshape(2, 3, 6)
    assert changed[:, 1].all()
    assert not changed[:, [0, 2]].any()


def test_views_see_each_other_and_only_with_the_module():
    model = tiny_transformer()
    adapter = ViewSyncAdapter(model)
    shake(adapter)
    latents, times, texts, poses = inputs(1, 2)
    with torch.no_grad(), adapter.cameras(poses):
        before = model(latents, times, texts).sample
        other = latents.clone()
        other[1] += 1.0
        assert not torch.allclose(model(other, times, texts).sample[0], before[0], atol=1e-3)
        moved = poses.clone()
        moved[0, 1] += 1.0
    with torch.no_grad(), adapter.cameras(moved):
        assert not torch.allclose(model(latents, times, texts).sample[0], before[0], atol=1e-3)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_the_modules_alone(checkpointing):
    model = tiny_transformer()
    adapter = ViewSyncAdapter(model)
    shake(adapter)
    trained = adapter.freeze_base()
    latents, times, texts, poses = inputs(1, 2)
    with adapter.cameras(poses):
        model(latents, times, texts).sample.square().mean().backward()
    expected = [parameter.grad.clone() for parameter in trained]
    assert all(gradient.abs().max() > 0 for gradient in expected)
    names = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert names == set(adapter.state_dict())
    if checkpointing:
        model.zero_grad()
        model.train()
        model.enable_gradient_checkpointing()
        with adapter.cameras(poses):
            model(latents, times, texts).sample.square().mean().backward()
        for parameter, gradient in zip(trained, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)


def test_what_does_not_go_together_is_refused(tmp_path):
    model = tiny_transformer()
    with pytest.raises(UserError, match="WanTransformer3DModel"):
        ViewSyncAdapter(nn.Linear(2, 2))
    adapter = ViewSyncAdapter(model)
    with pytest.raises(UserError, match="already"):
        ViewSyncAdapter(model)
    with pytest.raises(UserError, match="remove"):
        model.save_pretrained(tmp_path / "model")
    latents, times, texts, poses = inputs(1, 2)
    with pytest.raises(ValueError, match="views"), adapter.cameras(poses[:, :1]):
        model(latents, times, texts)
    with pytest.raises(UserError, match="every token"), adapter.cameras(poses):
        model(latents, times[:, None].expand(2, 3 * 6), texts)
    from diffusers import FirstBlockCacheConfig

    model.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(UserError, match="cache"), adapter.cameras(poses):
        model(latents, times, texts)
    model.disable_cache()
    adapter.remove()
    model.save_pretrained(tmp_path / "model")
