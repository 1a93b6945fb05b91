"""4D consistency: what a field has to show of a view that it never saw, against floor and ceiling."""

from dataclasses import replace

import pytest
from moving_spheres import Arc, Spheres, sphere_scene
from small_fields import KPLANES_OPTIONS

from syncnerf.cli import main
from syncnerf.config import Config
from syncnerf.errors import UserError
from syncnerf.generate import consistency
from syncnerf.generate.consistency import middle_view, nearest_view, not_fitted, score_consistency
from syncnerf.options import parse
from syncnerf.scene import Scene

VIEWS, FRAMES = 6, 8


@pytest.fixture(scope="module")
def views(tmp_path_factory) -> Scene:
    """Six synchronous views of a world on white."""
    folder = tmp_path_factory.mktemp("views")
    spheres = Spheres(4, 1, pace=3.0)
    scene = sphere_scene(folder, [0.0] * VIEWS, frames=FRAMES, size=(28, 28), spheres=spheres, arc=Arc(100))
    return replace(scene, background=(1.0, 1.0, 1.0))


@pytest.fixture
def config(views) -> Config:
    finer = ("--plane-resolution=16", "--field-samples=16", "--batch-size=192", "--lr=2e-2", "--warmup-steps=30")
    return parse([f"--datadir={views.root}", *KPLANES_OPTIONS, *finer, "--steps=220"])


def test_true_views_score_above_views_that_do_not_belong_together(views, config):
    score = score_consistency(views, config)
    assert score.value > score.floor + 1
    assert score.details["held_out"] == views.names[middle_view(views)]
    # Cameras trade places: each shows what another should.
    poses = [camera.camera_to_world for camera in views.cameras]
    order = [3, 5, 2, 0, 1, 4]  # the held-out one stays, so that the same frames are scored
    turned = tuple(replace(c, camera_to_world=poses[k]) for c, k in zip(views.cameras, order, strict=True))
    wrong = score_consistency(replace(views, cameras=turned), config, held_out=score.details["held_out"])
    assert wrong.value < score.value - 2
    assert wrong.ceiling is None
    assert "--true-footage" in wrong.reason


def test_true_footage_is_the_ceiling(views, config, monkeypatch):
    fitted = iter([(20.0, 0.5), (25.0, 0.7)])
    asked = []
    monkeypatch.setattr(consistency, "_fitted", lambda scene, index, _: asked.append((scene, index)) or next(fitted))
    footage = replace(views, root=views.root / "footage")
    score = score_consistency(views, config, held_out="cam04", true_footage=footage)
    assert (score.value, score.ceiling, score.reason) == (20.0, 25.0, "")
    assert score.details == {"held_out": "cam04", "ssim": 0.5, "steps": 220}
    assert [index for _, index in asked] == [4, middle_view(views)]
    assert asked[1][0] is footage
    few = replace(footage, cameras=footage.cameras[:4])
    fitted = iter([(20.0, 0.5)])
    score = score_consistency(views, config, true_footage=few)
    assert score.ceiling is None
    assert "4 views" in score.reason


def test_few_views_say_nothing(views, config):
    few = replace(views, cameras=views.cameras[:3])
    assert score_consistency(few, config).value is None
    assert "too few" in score_consistency(few, config).reason
    assert not_fitted().value is None


def test_the_view_in_the_middle_and_its_neighbour(views):
    assert middle_view(views) in (2, 3)
    assert nearest_view(views, 0) != 0
    with pytest.raises(UserError, match="no such view"):
        score_consistency(views, parse([f"--datadir={views.root}"]), held_out="cam99")


def test_options_of_a_field_need_one(tiny_scene, tmp_path, capsys):
    assert main(["score-views", f"--datadir={tiny_scene}", f"--out={tmp_path / 'out'}", "--held-out=cam01"]) == 2
    assert "--fit" in capsys.readouterr().err
