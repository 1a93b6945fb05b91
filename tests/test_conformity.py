"""Numbers that the peers' own functions gave, on invented inputs: readers, lenses, rays, colours, averages, metrics.

The folder ``conformity`` holds inputs and results. Their sources: ``llff`` K-Planes (its x axis mirrored back),
``panoptic`` the rasteriser of Dynamic 3D Gaussians, ``dnerf`` nerfstudio and K-Planes, ``syncam`` SynCamVideo's engine,
``lens`` OpenCV, ``colour`` ffmpeg, ``metrics`` K-Planes and scikit-image, ``importance`` K-Planes (its shift reaches
beyond the video's ends as if all were black there: only frames that it does not touch are kept).
"""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from format_scenes import write_json, write_video
from odd_videos import grey
from PIL import Image

from syncnerf.evaluation.camera_paths import smooth_path
from syncnerf.evaluation.metrics import psnr, ssim
from syncnerf.rendering.space import to_ndc
from syncnerf.sampling.importance_weights import isg_weights, ist_weights
from syncnerf.scene import load_scene
from syncnerf.scene.camera import Intrinsics, intrinsics_table, pixel_rays
from syncnerf.scene.geometry import NormalizedDeviceCoordinates
from syncnerf.scene.lens import Lens
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.rgb_frames import UPRIGHT, AreaAverage, FrameTraits, RgbConverter

FOLDER = Path(__file__).with_name("conformity")


def numbers(name):
    """A file's content."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def rays_through(camera, pixels):
    """A camera's rays through pixels [N, 2] (column, row), with near 0 and far 1."""
    column, row = torch.as_tensor(pixels).long().unbind(-1)
    table, indices = intrinsics_table([camera]), torch.zeros(len(column), dtype=torch.int64)
    flat = row * camera.intrinsics.width + column
    return pixel_rays(table, camera.pose(0).expand(len(flat), 4, 4), indices, flat, 0.0, 1.0)


@pytest.fixture(scope="module")
def llff(tmp_path_factory):
    """The peers' numbers, and our scene of the same table at half size."""
    root = tmp_path_factory.mktemp("llff")
    wanted = np.load(FOLDER / "llff.npz")
    np.save(root / "poses_bounds.npy", wanted["poses_bounds"])
    for k in range(12):
        write_video(root / f"cam{k:02d}.mp4", [grey(90, 270, 202)])
    return wanted, load_scene(root, ReadOptions(downsample=2))


def test_llff_poses_and_intrinsics(llff):
    wanted, scene = llff
    poses = torch.stack([camera.camera_to_world for camera in scene.cameras]).numpy()
    np.testing.assert_allclose(poses[:, :3, :3], wanted["rotations"], atol=1e-6)
    # Theirs put the nearest content at depth 1, ours at 4/3.
    scale = wanted["scale_ours_over_kplanes"] / 0.75
    np.testing.assert_allclose(poses[:, :3, 3], scale * wanted["centres_unit_nearest"], atol=1e-6)
    for camera in scene.cameras:
        size = camera.intrinsics
        assert [size.width, size.height] == wanted["size_half"].tolist()
        found = [size.focal_x, size.focal_y, size.centre_x, size.centre_y]
        np.testing.assert_allclose(found, wanted["intrinsics_half"], rtol=1e-6)


def test_llff_rays_and_device_coordinates(llff):
    wanted, scene = llff
    size = scene.cameras[0].intrinsics
    reference = NormalizedDeviceCoordinates(size.width, size.height, size.focal_x)
    for index, camera in enumerate(scene.cameras):
        rays = rays_through(camera, wanted["pixels"])
        np.testing.assert_allclose(rays.origins, wanted["origins"][index], atol=1e-6)
        directions = wanted["directions"][index]
        unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        np.testing.assert_allclose(rays.directions, unit, atol=1e-6)
        exact = rays.apply(torch.Tensor.double)
        exact.directions = torch.from_numpy(unit)
        warped = to_ndc(exact, reference)
        np.testing.assert_allclose(warped.origins, wanted["ndc_origins"][index], atol=1e-6)
        np.testing.assert_allclose(warped.directions, wanted["ndc_directions"][index], atol=1e-6)


def test_llff_spiral(llff):
    wanted, scene = llff
    path = smooth_path(scene, 12, 30.0).camera_to_world.numpy()
    # Theirs is run through in a mirrored world.
    np.testing.assert_allclose(path[:, :3, 3] * [-1, 1, 1], wanted["spiral_centres_12"], atol=1e-6)
    # NeRF's focus: three quarters of the way from 0.9 times the nearest to 5 times the farthest, by their inverses.
    scale = wanted["scale_ours_over_kplanes"] / 0.75 * np.linalg.norm(wanted["centres_unit_nearest"][0])
    scale /= np.linalg.norm(recentred_places(wanted["poses_bounds"])[0])
    near, far = wanted["poses_bounds"][:, 15].min(), wanted["poses_bounds"][:, 16].max()
    depth = scale / (0.25 / (0.9 * near) + 0.75 / (5 * far))
    towards = -path[:, :3, 2]
    focus = path[:, :3, 3] + towards * ((-depth - path[:, 2, 3]) / towards[:, 2])[:, None]
    np.testing.assert_allclose(focus, np.broadcast_to([0, 0, -depth], focus.shape), atol=1e-6)


def recentred_places(table):
    """The cameras' places from their mean, in the table's unit, [C, 3]."""
    places = table[:, :15].reshape(-1, 3, 5)[:, :, 3]
    return places - places.mean(0)


def test_lens():
    given = numbers("lens")
    lens = Lens(k1=given["k1"], k2=given["k2"], p1=given["p1"], p2=given["p2"])
    intrinsics = Intrinsics(*given["size"], given["fx"], given["fy"], given["cx"], given["cy"])
    found = lens.distorted(torch.tensor(given["ideal"], dtype=torch.float64), intrinsics)
    np.testing.assert_allclose(found, given["distorted"], atol=1e-9)


def test_panoptic(tmp_path):
    given = numbers("panoptic")
    cameras, size = given["cameras"], {"w": given["w"], "h": given["h"]}
    for k in range(len(cameras)):
        (tmp_path / "ims" / str(k)).mkdir(parents=True)
        Image.fromarray(grey(9, given["w"], given["h"])).save(tmp_path / "ims" / str(k) / "000000.jpg")
    names = range(len(cameras))
    tables = {"k": [[c["k"] for c in cameras]], "w2c": [[c["w2c"] for c in cameras]], "cam_id": [list(names)]}
    write_json(tmp_path / "train_meta.json", size | tables | {"fn": [[f"{k}/000000.jpg" for k in names]]})
    scene = load_scene(tmp_path)
    for camera, wanted in zip(scene.cameras, cameras, strict=True):
        rays = rays_through(camera, np.floor(wanted["pixels"]))
        towards = torch.tensor(wanted["points"], dtype=torch.float64) - rays.origins
        beside = towards - (towards * rays.directions).sum(-1, keepdim=True) * rays.directions
        assert beside.norm(dim=-1).max() < 1e-6


def test_d_nerf(tmp_path):
    given = numbers("dnerf")
    entries = []
    for k, frame in enumerate(given["frames"]):
        Image.fromarray(grey(9, given["size"], given["size"])).save(tmp_path / f"r_{k}.png")
        entries.append({"file_path": f"./r_{k}", "time": frame["time"], "transform_matrix": frame["transform_matrix"]})
    for split in ("train", "test"):
        record = {"camera_angle_x": given["camera_angle_x"], "frames": entries}
        write_json(tmp_path / f"transforms_{split}.json", record)
    camera = load_scene(tmp_path).cameras[0]
    np.testing.assert_allclose(camera.frame_times, [frame["time"] for frame in given["frames"]], atol=1e-12)
    for k, frame in enumerate(given["frames"]):
        column, row = torch.tensor(given["pixels"]).unbind(-1)
        rays = camera.all_rays(0.0, 1.0, k)[row * given["size"] + column]
        np.testing.assert_allclose(rays.directions, frame["directions"], atol=2e-7)
        np.testing.assert_allclose(rays.origins, np.broadcast_to(frame["origin"], (len(rays), 3)), atol=2e-7)


def test_syn_cam(tmp_path):
    given = numbers("syncam")
    (tmp_path / "videos").mkdir()
    for name in given["extrinsics"]:
        write_video(tmp_path / "videos" / f"{name}.mp4", [grey(9, given["size"], given["size"])])
    write_json(tmp_path / "cameras" / "camera_extrinsics.json", {"frame0": given["extrinsics"]})
    scene = load_scene(tmp_path)
    points = torch.tensor(given["points_in_metres_from_cam01"], dtype=torch.float64)
    for camera, wanted in zip(scene.cameras, given["pixels"], strict=True):
        seen = torch.cat([points, torch.ones(len(points), 1)], dim=-1) @ camera.projection().T
        np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], wanted, atol=1e-6)


def test_colours():
    for given in numbers("colour"):
        frame = av.VideoFrame(16, 16, "yuv420p")
        frame.pts = 0
        frame.time_base = 1
        frame.colorspace = {"bt709": 1, "bt601": 5}[given["matrix"]]
        frame.color_range = {"tv": 1, "pc": 2}[given["range"]]
        for plane, value in zip(frame.planes, given["yuv"], strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        image = RgbConverter(16, 16, FrameTraits(UPRIGHT, "left"))(frame)
        np.testing.assert_allclose(image.reshape(-1, 3), np.broadcast_to(given["exact"], (256, 3)), atol=1.5)


@pytest.mark.parametrize(("name", "size"), [("to_10x8", (10, 8)), ("to_5x4", (5, 4))])
def test_area_averages(name, size):
    given = numbers("area")
    image = np.repeat(np.array(given["image"], dtype=np.uint8)[..., None], 3, axis=-1)
    found = AreaAverage(*size)(image)
    np.testing.assert_allclose(found, np.repeat(np.array(given[name])[..., None], 3, axis=-1), atol=1)


@pytest.mark.parametrize("name", ["noise", "blur", "shift", "dark"])
def test_metrics(name):
    pairs, wanted = np.load(FOLDER / "metrics.npz"), numbers("metrics")[name]
    rendering, truth = (torch.from_numpy(pairs[f"{name}_{kind}"]).double() / 255 for kind in ("rendering", "truth"))
    assert psnr(rendering, truth) == pytest.approx(wanted["psnr"], abs=1e-9)
    assert ssim(rendering, truth) == pytest.approx(wanted["ssim_kplanes"], abs=1e-9)
    assert ssim(rendering, truth) == pytest.approx(wanted["ssim_skimage_wang"], abs=1e-9)


@pytest.mark.parametrize(("gamma", "name"), [(0.02, "isg_gamma_0_02"), (0.001, "isg_gamma_0_001")])
def test_importance_by_the_median(gamma, name):
    given = np.load(FOLDER / "importance.npz")
    found = isg_weights(given["video"].reshape(90, 20, 3), gamma).reshape(90, 4, 5) / 255
    # Ours are whole 255ths, summed over channels that are rounded to 256ths of that.
    np.testing.assert_allclose(found, given[name], atol=(0.5 + 1.5 / 256) / 255)


def test_importance_by_temporal_difference():
    given = np.load(FOLDER / "importance.npz")
    found = ist_weights(given["video"].reshape(90, 20, 3), 25, 0.0).reshape(90, 4, 5)[25:65]
    np.testing.assert_allclose(found, given["ist_shift_25_frames_25_to_64"], atol=0.5 + 1e-4)
