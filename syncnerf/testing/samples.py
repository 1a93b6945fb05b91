"""A small scene for tests of a backend: what it is given, what it may be asked, what it may be trained on."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.backend import BackendSpec
from syncnerf.batch import Batch, RayBatch, ViewBatch
from syncnerf.evaluation.camera_paths import look_at
from syncnerf.questions import COLOURS, Question, RayQuestion, ViewQuestion, Wanted
from syncnerf.scene.geometry import SceneGeometry, StartingPoints
from syncnerf.scene.rays import Rays
from syncnerf.scene.views import Views

RAYS, STEPS, FRAMES = 40, 100, 12
VIEWS, WIDTH, HEIGHT = 3, 11, 9
SERIES = (0.0, 0.07, 0.14)
READOUTS = (0.0, 0.2, -0.1)
"""Of the views' rows, in the field's coordinate: a global shutter, a rolling one, one upside down."""


def scene_geometry(**changes) -> SceneGeometry:
    """A box of side 2.6 around the origin before white, seen from a distance of 4; ``changes`` replace its fields."""
    values = {
        "bounds": torch.tensor([[-1.3] * 3, [1.3] * 3]), "near": 2.0, "far": 6.0, "frame_count": FRAMES,
        "steps": STEPS, "background": (1.0, 1.0, 1.0),
    }  # fmt: skip
    return SceneGeometry(**{**values, **changes})


def some_points(count: int = 30) -> StartingPoints:
    """Points in the middle of the box, of dull colours: in turn still, moving, and flying straight on."""
    generator = torch.Generator().manual_seed(3)
    places = torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5
    times = 2.0 * torch.rand(count, generator=generator, dtype=torch.float64) - 1.0
    times[::3] = torch.nan
    velocities = torch.randn(count, 3, generator=generator)
    velocities[torch.arange(count) % 3 != 2] = torch.nan
    colours = 0.3 + 0.4 * torch.rand(count, 3, generator=generator)
    return StartingPoints(places, colours, times, velocities)


def some_rays(count: int = RAYS) -> Rays:
    """Rays from all around into the box, each its own."""
    generator = torch.Generator().manual_seed(0)
    origins = 4 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    targets = torch.rand(count, 3, generator=generator) - 0.5
    ones = torch.ones(count)
    return Rays(origins, torch.nn.functional.normalize(targets - origins, dim=-1), 2 * ones, 6 * ones)


def some_times(spec: BackendSpec, count: int = RAYS) -> Float64[Tensor, " N *T"]:
    """Times for rays: [N], or [N, 3] for a backend that trains on series."""
    times = 1.6 * torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.8
    return times[:, None] + torch.tensor(SERIES).double() if spec.trains_on == "time_series" else times


def some_views() -> Views:
    """Small pictures of the box from a ring around it."""
    angles = torch.arange(VIEWS, dtype=torch.float64)
    places = torch.stack([3.46 * angles.cos(), 3.46 * angles.sin(), torch.full_like(angles, 2.0)], dim=-1)
    origin, up = torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    table = torch.tensor([WIDTH, HEIGHT, 1.2 * WIDTH, 1.2 * WIDTH, WIDTH / 2, HEIGHT / 2], dtype=torch.float64)
    corners = torch.zeros(VIEWS, 2, dtype=torch.int64)
    return Views(look_at(places, origin, up), table.expand(VIEWS, 6), corners, WIDTH, HEIGHT, 2.0, 6.0)


def about_rays(spec: BackendSpec, wanted: Wanted = COLOURS) -> RayQuestion:
    """A question about rays, at one time each or, for a backend that trains on series, at several."""
    return RayQuestion(some_rays(), some_times(spec), wanted)


def about_views(wanted: Wanted = COLOURS) -> ViewQuestion:
    """A question about whole views, with rolling shutters."""
    times = torch.tensor([-0.5, 0.1, 0.6], dtype=torch.float64)
    return ViewQuestion(some_views(), times, torch.tensor(READOUTS, dtype=torch.float64), wanted)


def training_question(spec: BackendSpec) -> Question:
    """A question of the kind that a backend trains on."""
    return about_views() if spec.trains_on == "views" else about_rays(spec)


def some_batch(spec: BackendSpec) -> Batch:
    """Pixels of a camera to train on, asked for by :func:`training_question`; their colours are random."""
    question = training_question(spec)
    pixels = question.times.shape if isinstance(question, RayQuestion) else (VIEWS, HEIGHT, WIDTH)
    rgb = torch.rand(*pixels, 3, generator=torch.Generator().manual_seed(2))
    cameras = torch.zeros(len(question), dtype=torch.int64)
    if isinstance(question, ViewQuestion):
        statistics = {"mean": rgb, "deviation": torch.full(pixels, 0.1)}
        return ViewBatch(question.views, cameras, question.times, rgb, statistics)
    statistics = {"mean": rgb.reshape(RAYS, -1, 3).mean(dim=1), "deviation": torch.full((RAYS,), 0.1)}
    return RayBatch(question.rays, cameras, question.times, torch.zeros(RAYS), rgb, statistics)
