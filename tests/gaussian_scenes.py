"""Small scenes of Gaussians for tests."""

import math
from dataclasses import replace

import torch

from syncnerf.scene.camera import Intrinsics
from syncnerf_gaussians.gaussians import Drift, Gaussians, Motion, PinholePicture, Poses, Skinning


def some_gaussians(count: int, degree: int = 1, size: float = 0.1, seed: int = 0) -> Gaussians:
    """Ellipsoids of many shapes in a ball of radius 1, float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return Gaussians(
        means=0.5 * normal(count, 3),
        quaternions=normal(count, 4),
        log_scales=math.log(size) + 0.5 * normal(count, 3),
        opacity_logits=2.0 * normal(count) - 0.5,
        harmonics=0.5 * normal(count, (degree + 1) ** 2, 3),
    )


def some_motion(count: int, times: list[float], nodes: int = 5, seed: int = 1) -> Motion:
    """All that a motion can have: a scaffold whose nodes move and turn (two moments of rest), drift and lives."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    start, course = normal(nodes, 3), 0.3 * normal(nodes, 3)
    turns, spins = normal(nodes, 4), 0.4 * normal(nodes, 4)

    def positions(moments: torch.Tensor) -> torch.Tensor:
        return start + torch.sin(moments)[:, None, None] * course

    def quaternions(moments: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(turns + torch.sin(moments)[:, None, None] * spins, dim=-1)

    def slopes(curve, moments: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(curve, (moments,), (torch.ones_like(moments),))[1]

    moments, rests = torch.tensor(times, dtype=torch.float64), torch.tensor([-0.5, 0.4], dtype=torch.float64)
    chosen = torch.rand(count, nodes, generator=generator).argsort(dim=-1)[:, :4].int()
    chosen[::5] = -1
    skinning = Skinning(
        nodes=chosen,
        weights=torch.softmax(normal(count, 4), dim=-1),
        moments=torch.randint(0, 2, (count,), generator=generator, dtype=torch.int32),
        rest=Poses(positions(rests), quaternions(rests)),
        poses=Poses(positions(moments), quaternions(moments)),
        rates=Poses(slopes(positions, moments), slopes(quaternions, moments)),
    )
    drift = Drift(0.1 * normal(count, 3), 0.3 * normal(count), 0.1 * normal(count).abs(), 0.3 + normal(count).abs())
    return Motion(moments, skinning, drift)


def view(width: int, height: int, yaw: float = 0.0, distance: float = 4.0) -> PinholePicture:
    """A camera that looks at the ball from a distance, its centre not the picture's."""
    cosine, sine = math.cos(yaw), math.sin(yaw)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.tensor([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]], dtype=torch.float64)
    pose[:3, 3] = pose[:3, 2] * distance
    focal = 1.3 * max(width, height)
    return PinholePicture(Intrinsics(width, height, focal, 1.1 * focal, 0.45 * width, 0.52 * height), pose, 0.1, 100.0)


def single(thing):
    """The same Gaussians or motion in float32, as the kernel takes them; times stay float64."""
    if isinstance(thing, torch.Tensor):
        return thing.float() if thing.dtype == torch.float64 else thing
    changes = {name: single(value) for name, value in vars(thing).items() if name != "times" and value is not None}
    return replace(thing, **changes)


def near_the_camera(count: int = 60) -> Gaussians:
    """Large flat and long Gaussians about a camera's place, so that many reach across its plane or lie behind it."""
    gaussians = some_gaussians(count, size=0.25, seed=11)
    stretched = gaussians.log_scales + torch.tensor([1.5, 0.0, -1.5], dtype=torch.float64)
    away = torch.tensor([0.0, 0.0, 4.0], dtype=torch.float64)
    return replace(gaussians, means=3.0 * gaussians.means + away, log_scales=stretched)


def leaves(gaussians: Gaussians, motion: Motion) -> dict[str, torch.Tensor]:
    """Everything that a picture is differentiable by, as leaves of a graph."""
    found = dict(vars(gaussians)) | {"times": motion.times}
    if motion.drift is not None:
        found |= vars(motion.drift)
    if motion.skinning is not None:
        found["weights"] = motion.skinning.weights
        for name in ("rest", "poses"):
            poses = getattr(motion.skinning, name)
            found |= {f"{name}.positions": poses.positions, f"{name}.quaternions": poses.quaternions}
    for tensor in found.values():
        tensor.requires_grad_()
    return found


def assert_alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], share: float) -> None:
    """Each tensor to a share of its largest number; that by the times to a share of what all Gaussians add to it."""
    for name, value in expected.items():
        parts = expected["centres"].abs().sum() if name == "times" else value.abs().max()
        scale = parts.item()
        assert scale > 0.0, name
        torch.testing.assert_close(found[name].double(), value.double(), rtol=0, atol=share * scale, msg=name)


MOMENTS = [0.1, 0.7]
VIEWS = [view(61, 43), view(20, 37, yaw=0.6)]
