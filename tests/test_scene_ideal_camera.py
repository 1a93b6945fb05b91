"""The pinhole camera that stands for a lens: its pictures against a known scene, its zoom against closed forms."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from syncnerf.scene import load_scene
from syncnerf.scene.camera import Intrinsics
from syncnerf.scene.ideal_camera import ideal_camera
from syncnerf.scene.lens import Lens
from syncnerf.scene.remarks import remarks

WIDTH, HEIGHT = 96, 64
STORED = {"w": WIDTH, "h": HEIGHT, "fl_x": 70.0, "fl_y": 74.0, "cx": 50.0, "cy": 30.5}
MIDDLE = Intrinsics(WIDTH, HEIGHT, 70.0, 70.0, WIDTH / 2, HEIGHT / 2)
CORNER = np.hypot(WIDTH, HEIGHT) / 2 / 70.0
LENSES = {
    "pincushion": ({"k1": 0.3}, lambda r: r * (1 + 0.3 * r**2)),
    "barrel": ({"k1": -0.15}, lambda r: r * (1 - 0.15 * r**2)),
    "moustache": ({"k1": -0.1, "k2": 0.5}, lambda r: r * (1 - 0.1 * r**2 + 0.5 * r**4)),
    "rational": ({"k1": 0.5, "k4": 0.1}, lambda r: r * (1 + 0.5 * r**2) / (1 + 0.1 * r**2)),
    "fisheye": ({"k1": 0.9, "is_fisheye": True}, lambda r: np.arctan(r) * (1 + 0.9 * np.arctan(r) ** 2)),
}


def brightness(x, y):
    """What lies in the direction (x, y) of the plane at distance 1: waves of at most 2.1 levels a pixel."""
    return np.stack([128 + 90 * np.sin(1.6 * x + 0.4), 128 + 90 * np.cos(1.4 * y), 128 + 60 * np.sin(x + 2 * y)], -1)


def recorded(distort) -> np.ndarray:
    """The picture that a radial lens makes: each pixel's radius is looked up in a table of the lens's formula."""
    radius = np.linspace(0, 3, 300001)
    bent = distort(radius)
    bent = bent[: 1 + bent.argmax()]
    column, row = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    x, y = (column - STORED["cx"]) / STORED["fl_x"], (row - STORED["cy"]) / STORED["fl_y"]
    far = np.hypot(x, y)
    scale = np.interp(far, bent, radius[: len(bent)]) / far
    return np.rint(brightness(scale * x, scale * y)).astype(np.uint8)


@pytest.fixture
def scene_of(tmp_path):
    """Writes a scene of one camera with a lens and reads it."""

    def write(keys, image):
        for frame in range(2):
            folder = tmp_path / "images" / "cam00"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{frame:03d}.png")
        pose = np.eye(4).tolist()
        entries = [
            {"file_path": f"images/cam00/{k:03d}.png", "transform_matrix": pose, "time": float(k)} for k in range(2)
        ]
        (tmp_path / "transforms.json").write_text(json.dumps(STORED | keys | {"frames": entries}))
        return load_scene(tmp_path)

    return write


@pytest.mark.parametrize("name", LENSES)
def test_every_pixel_shows_what_lies_along_its_ray(scene_of, name):
    keys, distort = LENSES[name]
    scene = scene_of(keys, recorded(distort))
    camera = scene.cameras[0]
    rays = camera.all_rays(0.1, 1.0).directions.double().numpy()
    wanted = brightness(-rays[:, 0] / rays[:, 2], rays[:, 1] / rays[:, 2]).reshape(HEIGHT, WIDTH, 3)
    # Two roundings, and half a pixel that the outermost ones' centres may lie beyond the recorded ones.
    np.testing.assert_allclose(scene.frames(0)[0], wanted, rtol=0, atol=1.0 + 0.5 * 2.1)


def test_the_zoom_is_the_least():
    """r (1 + k r^2) = R has to hold at the corner, R from the middle, for r = R / zoom: zoom^3 = zoom^2 + k R^2."""
    size, lens = ideal_camera(Lens(k1=0.2), MIDDLE)
    roots = np.roots([1, -1, 0, -0.2 * CORNER**2])
    wanted = float(roots[np.isreal(roots)].real.max())
    assert lens == Lens(k1=0.2, zoom=lens.zoom)
    assert lens.zoom == pytest.approx(wanted, rel=1e-9)
    assert size == replace(MIDDLE, focal_x=70.0 * lens.zoom, focal_y=70.0 * lens.zoom)
    half, same = ideal_camera(Lens(k1=0.2), MIDDLE.resized(WIDTH // 2, HEIGHT // 2))
    assert same.zoom == pytest.approx(wanted, rel=1e-9)
    assert half.focal_x == pytest.approx(35.0 * wanted, rel=1e-9)


def test_a_fold_stays_outside():
    """r (1 - k r^2) turns back at r = 1 / sqrt(3 k), which the corner may not pass."""
    _, lens = ideal_camera(Lens(k1=-0.9), MIDDLE)
    assert lens.zoom == pytest.approx(CORNER * np.sqrt(3 * 0.9), rel=0.01)


@pytest.mark.parametrize("lens", [Lens(), Lens(k1=-0.2, k2=0.03), Lens(fisheye=True)])
def test_lenses_that_draw_inward_keep_their_focal_length(lens):
    assert ideal_camera(lens, MIDDLE) == (MIDDLE, lens)


def test_nothing_is_changed_where_no_zoom_does():
    aside = replace(MIDDLE, centre_x=-10.0)
    assert ideal_camera(Lens(k1=-0.1), aside) == (aside, Lens(k1=-0.1))


def test_enlarged_pictures_are_said_and_cached_on_their_own(scene_of):
    image = recorded(LENSES["pincushion"][1])
    scene = scene_of(LENSES["pincushion"][0], image)
    camera, lens = scene.cameras[0], scene.frame_cache.sources[scene.names[0]].lens
    assert [line for line in remarks(scene) if "enlarged" in line] == [
        f"all cameras: undistorted pictures are {lens.zoom:.2f} times enlarged (the focal lengths above say so), as "
        "the lens has pushed their borders out of the stored ones"
    ]
    before = replace(camera, intrinsics=camera.intrinsics.zoomed(1 / lens.zoom))
    assert scene.frame_cache.path_of(before) != scene.frame_cache.path_of(camera)
    scene = scene_of(LENSES["barrel"][0], image)
    assert not any("enlarged" in line for line in remarks(scene))
