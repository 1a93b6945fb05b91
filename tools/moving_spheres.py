"""Ray-cast videos of textured spheres that tumble over a textured disc: ground truth for synchronisation, in seconds.

No Blender, no files but the frame cache: the frames come out of a :class:`FrameSource` of the scene. Time is
continuous, so offsets are sub-frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from blender_scenes.rig import ORIGIN, look_at, on_sphere
from torch import Tensor

from syncnerf.scene import Camera, Intrinsics, Scene
from syncnerf.scene.frame_cache import FrameCache

FIELD_OF_VIEW = 0.69
"""Horizontal field of view, radians; as the NeRF Blender scenes'."""
RADIUS = 4.0
"""Distance of the cameras from the origin, scene units."""
DISC_HEIGHT, DISC_RADIUS = -0.8, 1.1


@dataclass
class Spheres:
    """Spheres on smooth random paths, tumbling, each with its own texture; a function of continuous time.

    Attributes:
        count: number of spheres.
        seed: of paths, textures, sizes.
        pace: speeds up (above 1) or slows down all motion; 0 for a scene that stands still.
        checked: chequered textures, full of corners, rather than stripes.
    """

    count: int = 5
    seed: int = 0
    pace: float = 1.0
    checked: bool = False

    def __post_init__(self) -> None:
        generator = np.random.default_rng(self.seed)
        shape = (self.count, 3)
        self.radii = generator.uniform(0.18, 0.34, self.count)
        self.centre = generator.uniform(-0.55, 0.55, shape)
        self.reach = generator.uniform(0.1, 0.35, (3, *shape)) * np.array([0.5, 0.35, 0.15])[:, None, None]
        self.frequency = np.array([0.31, 0.73, 1.37])[:, None, None] * generator.uniform(0.9, 1.1, (3, *shape))
        self.phase = generator.uniform(0, 2 * np.pi, (3, *shape))
        self.turn = generator.uniform(-1.2, 1.2, (3, *shape))
        self.turn_phase = generator.uniform(0, 2 * np.pi, (3, *shape))
        self.waves = generator.normal(0, 6, (self.count + 1, 3, 3))
        self.wave_phase = generator.uniform(0, 2 * np.pi, (self.count + 1, 3))
        self.colour = generator.uniform(0.15, 0.85, (self.count + 1, 3))

    def centres(self, time: float) -> np.ndarray:
        """Centres at ``time`` seconds, scene units, shape [count, 3]."""
        angle = 2 * np.pi * self.frequency * self.pace * time + self.phase
        return self.centre + (self.reach * np.sin(angle)).sum(0)

    def rotations(self, time: float) -> np.ndarray:
        """Rotations at ``time`` seconds, object to world, shape [count, 3, 3]."""
        vectors = (self.turn * np.sin(2 * np.pi * self.frequency * self.pace * time + self.turn_phase)).sum(0)
        x, y, z = np.moveaxis(vectors, -1, 0)
        zero = np.zeros_like(x)
        skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
        return torch.linalg.matrix_exp(torch.from_numpy(skew)).numpy()

    def ground(self, origin: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """What rays of one camera see behind the spheres: colours [N, 3] and distances [N], the same at all times."""
        colours = torch.ones_like(directions)
        depth = (DISC_HEIGHT - origin[2]) / directions[:, 2]
        ground = origin + depth[:, None] * directions
        on_disc = (depth > 0) & (ground[:, :2].norm(dim=-1) < DISC_RADIUS)
        colours[on_disc] = self._texture(self.count, ground[on_disc])
        return colours, torch.where(on_disc, depth, torch.inf)

    def render(
        self, origin: Tensor, directions: Tensor, time: float, ground: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Colours in [0, 1] along rays of one camera, float32, shape [N, 3]; ``ground`` where it is known already."""
        colours, depth = (part.clone() for part in ground or self.ground(origin, directions))
        centres = torch.from_numpy(self.centres(time)).float()
        rotations = torch.from_numpy(self.rotations(time)).float()
        for index, radius in enumerate(self.radii):
            offset = origin - centres[index]
            half = directions @ offset
            discriminant = half.square() - (offset @ offset - radius**2)
            # Several times as fast as torch's nonzero.
            hit = torch.from_numpy(np.flatnonzero((discriminant > 0).numpy()))
            distance = -half[hit] - discriminant[hit].sqrt()
            nearest = (distance > 0) & (distance < depth[hit])
            hit, distance = hit[nearest], distance[nearest]
            normal = (offset + distance[:, None] * directions[hit]) / radius
            shade = 0.7 + 0.3 * normal @ torch.tensor([0.3, -0.2, 0.93])
            colours[hit] = self._texture(index, normal @ rotations[index]) * shade[:, None]
            depth[hit] = distance
        return colours

    def _texture(self, index: int, points: Tensor) -> Tensor:
        waves = torch.from_numpy(self.waves[index]).float()
        pattern = torch.sin(points @ waves.T + torch.from_numpy(self.wave_phase[index]).float())
        if self.checked:
            pattern = 2 * pattern * torch.sin(points @ waves.roll(1, 0).T + 1.0)
        tone = torch.from_numpy(self.colour[index]).float()
        return (tone + 0.35 * torch.tanh(2 * pattern)).clamp(0, 1)


@dataclass
class SphereVideo:
    """One camera's frames, rendered on demand: the ``FrameSource`` of a scene.

    Attributes:
        spheres: what is filmed.
        camera: from where.
        offset: seconds; a frame of own time k shows ``k * (1 + rate) + offset``, a row of it by its share of the
            camera's ``row_time`` later.
        rate: how much faster than nominal the camera's clock sees time pass (1e-6: one part per million).
    """

    spheres: Spheres
    camera: Camera
    offset: float
    rate: float = 0.0
    path: Path = field(default_factory=lambda: Path("spheres"))

    def fingerprint(self) -> str:
        """The camera's name: the cache belongs to one scene only."""
        return self.camera.name

    def decode(self, intrinsics: Intrinsics) -> Iterator[np.ndarray]:
        """Yield frames in order, uint8 RGB, shape [height, width, 3]; 2x2 rays per pixel."""
        twice = intrinsics.resized(2 * intrinsics.width, 2 * intrinsics.height)
        row, column = torch.meshgrid(torch.arange(twice.height) + 0.5, torch.arange(twice.width) + 0.5, indexing="ij")
        local = twice.directions(torch.stack([column, row], dim=-1)).reshape(-1, 3)
        local = torch.nn.functional.normalize(local, dim=-1)
        # Rows of a rolling shutter are rendered one by one, those of a global one all at once.
        parts = local.split(2 * twice.width) if self.camera.row_time else (local,)
        rows = (torch.arange(len(parts), dtype=torch.float64) + 0.5) / len(parts) - 0.5
        for frame, own_time in enumerate(self.camera.frame_times.tolist()):
            if frame == 0 or self.camera.is_moving:
                pose = self.camera.pose(frame).float()
                origin, rays = pose[:3, 3], [part @ pose[:3, :3].T for part in parts]
                grounds = [self.spheres.ground(origin, part) for part in rays]
            times = (own_time + rows * self.camera.row_time) * (1 + self.rate) + self.offset
            moments = zip(rays, times.tolist(), grounds, strict=True)
            colours = torch.cat([self.spheres.render(origin, *moment) for moment in moments])
            four = colours.reshape(intrinsics.height, 2, intrinsics.width, 2, 3)
            image = ((four[:, 0, :, 0] + four[:, 0, :, 1]) + (four[:, 1, :, 0] + four[:, 1, :, 1])) / 4
            yield (image * 255).round().to(torch.uint8).numpy()


def pose_at(azimuth: float, elevation: float) -> Tensor:
    """Camera-to-world of an upright camera that looks at the origin from a place on the sphere of the cameras.

    Angles are in degrees; OpenGL axes, float64, shape [4, 4].
    """
    return torch.from_numpy(look_at(on_sphere(azimuth, elevation, RADIUS), ORIGIN))


@dataclass(frozen=True)
class Arc:
    """Where the cameras stand, at three heights.

    Attributes:
        span: azimuth over which they spread, degrees.
        sweep: azimuth that each itself travels over its video, degrees; 0 for cameras that stand still.
    """

    span: float = 160.0
    sweep: float = 0.0

    def pose(self, index: int, count: int, frames: int) -> Tensor:
        """Camera-to-world of one of so many cameras, float64, shape [4, 4], or [frames, 4, 4] where they move."""
        azimuth = self.span * (index / max(count - 1, 1) - 0.5)
        elevation = (15.0, 45.0, 28.0)[index % 3]
        if not self.sweep:
            return pose_at(azimuth, elevation)
        way = np.linspace(-0.5, 0.5, frames) * self.sweep * (-1) ** index
        return torch.stack([pose_at(azimuth + step, elevation) for step in way])


@dataclass(frozen=True)
class Clocks:
    """What the cameras' clocks do beside their offsets; None for nothing.

    Attributes:
        rates: clock rate errors.
        row_times: seconds from each camera's first to its last row.
        times: of each camera's frames on its own clock, seconds, float64, shape [T].
    """

    rates: Sequence[float] | None = None
    row_times: Sequence[float] | None = None
    times: Sequence[Tensor] | None = None


def sphere_scene(
    cache: Path,
    offsets: Sequence[float],
    *,
    frames: int | Sequence[int] = 48,
    fps: float | Sequence[float] = 30.0,
    size: tuple[int, int] = (96, 96),
    spheres: Spheres | None = None,
    arc: Arc | None = None,
    clocks: Clocks | None = None,
) -> Scene:
    """A scene of moving spheres seen by cameras on an arc about it.

    Args:
        cache: folder for the decoded frames; use a new one per scene.
        offsets: each camera's true offset in seconds; decides the number of cameras.
        frames: frames per camera.
        fps: frames per second.
        size: width and height in pixels.
        spheres: what is filmed.
        arc: where the cameras stand.
        clocks: what is odd about their clocks.
    """
    count, spheres, arc, clocks = len(offsets), spheres or Spheres(), arc or Arc(), clocks or Clocks()
    frames = [frames] * count if isinstance(frames, int) else list(frames)
    fps = [fps] * count if isinstance(fps, int | float) else list(fps)
    focal = 0.5 * size[0] / np.tan(0.5 * FIELD_OF_VIEW)
    intrinsics = Intrinsics(*size, focal, focal, size[0] / 2, size[1] / 2)
    cameras, sources = [], {}
    for index in range(count):
        row_time = 0.0 if clocks.row_times is None else clocks.row_times[index]
        given = None if clocks.times is None else clocks.times[index]
        rate = 0.0 if clocks.rates is None else clocks.rates[index]
        pose = arc.pose(index, count, frames[index])
        cameras.append(Camera(f"cam{index:02d}", intrinsics, pose, float(fps[index]), frames[index], given, row_time))
        sources[cameras[-1].name] = SphereVideo(spheres, cameras[-1], offsets[index], rate)
    return Scene(
        root=cache,
        format="spheres",
        cameras=tuple(cameras),
        frame_cache=FrameCache(cache, sources),
        test=(0,),
        bounds=torch.tensor([[-1.3] * 3, [1.3] * 3]),
        near=2.0,
        far=6.0,
        true_offsets=torch.tensor(offsets, dtype=torch.float64),
    )
