"""``syncnerf export --splats``: files read back by their layout, as viewers of Gaussians know it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_scene import edit_json

from syncnerf.cli import main
from syncnerf.export.ply import write_ply
from syncnerf.splats import Splats


def columns_of(path: Path) -> dict[str, np.ndarray]:
    """A binary ``.ply``'s float columns by their names, float64, shape [N]."""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = int(lines[2].removeprefix("element vertex "))
    names = [line.removeprefix("property float ") for line in lines[3:]]
    table = np.frombuffer(body, "<f4").reshape(count, len(names))
    return dict(zip(names, table.T.astype(float), strict=True))


STANDARD = [
    "x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{k}" for k in range(3)), *(f"f_rest_{k}" for k in range(45)), "opacity",
    *(f"scale_{k}" for k in range(3)), *(f"rot_{k}" for k in range(4)),
]  # fmt: skip
"""What the reference implementation of 3D Gaussian Splatting writes, in its order."""


def some_splats(count: int, coefficients: int) -> Splats:
    generator = torch.Generator().manual_seed(1)
    quaternions = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1)
    shapes = ((count, 3), (count, 3), (count,), (count, coefficients, 3))
    means, log_scales, opacity_logits, harmonics = (torch.randn(shape, generator=generator) for shape in shapes)
    return Splats(means, quaternions, log_scales, opacity_logits, harmonics)


@pytest.mark.parametrize("coefficients", [1, 4, 16])
def test_files_have_the_standard_columns(tmp_path, coefficients):
    splats = some_splats(7, coefficients)
    write_ply(tmp_path / "a.ply", splats)
    found = columns_of(tmp_path / "a.ply")
    assert list(found) == STANDARD
    for number, name in enumerate("xyz"):
        np.testing.assert_array_equal(found[name], splats.means[:, number])
    for number in range(3):
        np.testing.assert_array_equal(found[f"scale_{number}"], splats.log_scales[:, number])
        np.testing.assert_array_equal(found[f"f_dc_{number}"], splats.harmonics[:, 0, number])
        for k in range(1, 16):
            expected = splats.harmonics[:, k, number] if k < coefficients else np.zeros(7)
            np.testing.assert_array_equal(found[f"f_rest_{15 * number + k - 1}"], expected)
    np.testing.assert_array_equal(np.stack([found[f"rot_{k}"] for k in range(4)], 1), splats.quaternions)
    np.testing.assert_array_equal(found["opacity"], splats.opacity_logits)


def test_faint_and_broken_ones_are_left_out():
    splats = some_splats(5, 4)
    splats.opacity_logits[:] = torch.tensor([3.0, -9.0, 0.0, 1.0, torch.nan])
    splats.means[2, 1] = torch.inf
    kept = splats.seen(1 / 255)
    assert torch.equal(kept.means, splats.means[[0, 3]])
    assert torch.equal(kept.harmonics, splats.harmonics[[0, 3]])


def test_splats_elsewhere_are_the_same_to_the_last_bit_of_their_places():
    splats, by = some_splats(5, 4), torch.tensor([1e5, -3.0, 0.25], dtype=torch.float64)
    moved = splats.moved(by)
    assert torch.equal(moved.means, (splats.means.double() + by).float())
    for name in ("quaternions", "log_scales", "opacity_logits", "harmonics"):
        assert torch.equal(getattr(moved, name), getattr(splats, name))


def test_a_folder_that_is_no_run_takes_one_line(own_scene, tmp_path, capsys):
    pytest.importorskip("safetensors")
    out = tmp_path / "out"
    assert main(["export", f"--datadir={own_scene}", f"--splats={tmp_path / 'nowhere'}", f"--out={out}"]) == 2
    error = capsys.readouterr().err
    assert "holds no config.txt" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_field_without_gaussians_is_refused(tiny_arguments, tiny_scene, tmp_path, capsys):
    pytest.importorskip("safetensors")
    short = ["--steps=2", "--expname=short", "--test-steps=1", "--test-frames=1", "--render-frames=1"]
    assert main(["train", *tiny_arguments, *short]) == 0
    capsys.readouterr()
    run = tmp_path / "runs" / "short"
    out = tmp_path / "out"
    assert main(["export", f"--datadir={tiny_scene}", f"--splats={run}", f"--out={out}"]) == 2
    assert "kplanes, which has no Gaussians" in capsys.readouterr().err
    assert not out.exists()


@pytest.fixture(scope="module")
def finished(tiny_scene, tmp_path_factory) -> Path:
    """A short run of Gaussians on the tiny scene."""
    folder = tmp_path_factory.mktemp("runs")
    sizes = ["--gaussians=300", "--nodes=12", "--harmonics-degree=2", "--batch-size=4096", "--steps=12", "--device=cpu"]
    rest = ["--backend=gaussians", "--offset-init=zero", "--test-steps=1", "--test-frames=1", "--render-frames=1"]
    assert main(["train", f"--datadir={tiny_scene}", f"--logdir={folder}", "--expname=short", *sizes, *rest]) == 0
    return folder / "short"


def test_another_scene_is_refused(finished, own_scene, tmp_path, capsys):
    """Its cameras have the same names, and stand elsewhere, or film something else."""
    out = tmp_path / "out"
    arguments = ["export", f"--datadir={own_scene}", f"--splats={finished}", f"--out={out}"]
    shutil.copy(own_scene / "cam03.mp4", own_scene / "cam02.mp4")
    assert main(arguments) == 2
    assert "other footage of camera 'cam02'" in capsys.readouterr().err
    edit_json(
        own_scene / "transforms.json", lambda record: record["frames"][1]["transform_matrix"][0].__setitem__(3, 1.0)
    )
    assert main(arguments) == 2
    assert "pose of camera 'cam01'" in capsys.readouterr().err
    assert not out.exists()


def gaussians_of(path: Path):
    """A file's Gaussians, as a viewer reads them."""
    from syncnerf_gaussians.gaussians import Gaussians

    found = columns_of(path)
    places, scales, turns = (
        torch.from_numpy(np.stack([found[name] for name in names], 1))
        for names in ("xyz", [f"scale_{k}" for k in range(3)], [f"rot_{k}" for k in range(4)])
    )
    colours = [np.stack([found[f"f_dc_{c}"], *(found[f"f_rest_{15 * c + k}"] for k in range(15))], 1) for c in range(3)]
    harmonics = torch.from_numpy(np.stack(colours, axis=2))
    return Gaussians(places, turns, scales, torch.from_numpy(found["opacity"]), harmonics)


def test_moments_show_what_the_run_draws(finished, tiny_scene, tmp_path, capsys):
    """Read back, frozen, and drawn by the plain twin of the rasteriser."""
    pytest.importorskip("safetensors")
    from syncnerf.export.splats import restored
    from syncnerf.questions import ViewQuestion
    from syncnerf.scene.views import Views
    from syncnerf_gaussians.gaussians import Motion, PinholePicture
    from syncnerf_gaussians.reference import pictures

    out = tmp_path / "out"
    arguments = [f"--datadir={tiny_scene}", f"--splats={finished}", "--moments=3", f"--out={out}"]
    assert main(["export", *arguments]) == 0
    assert "3 moments of at most" in capsys.readouterr().out
    record = json.loads((out / "splats" / "moments.json").read_text())
    job, synced = restored(finished, tiny_scene)
    scene, backend = job.scene, synced.backend
    last = scene.cameras[scene.reference].duration
    assert [entry["seconds"] for entry in record["moments"]] == pytest.approx([0, last / 2, last])
    moved = []
    for entry in record["moments"]:
        gaussians = gaussians_of(out / "splats" / entry["file"])
        assert len(gaussians) == entry["gaussians"] > 100
        moved.append(gaussians.means.mean(0))
        camera, nothing = scene.cameras[2], torch.zeros(1, dtype=torch.float64)
        question = ViewQuestion(Views.of(camera, [0], scene.near, scene.far), nothing + entry["coordinate"], nothing)
        with torch.no_grad():
            expected = backend.render_views(question).rgb[0]
            view = PinholePicture(camera.intrinsics, camera.pose(0), scene.near, scene.far)
            drawn = pictures(gaussians, [view], Motion(nothing))
        rgb = drawn[:, :3] + (1 - drawn[:, 3:4]) * 1.0
        assert (rgb.reshape(expected.shape) - expected).abs().max() < 5e-3
    assert (moved[0] - moved[2]).norm() > 0


def test_moments_lie_where_the_scenes_own_files_have_them_and_show_all_there_is(
    finished, tiny_scene, tmp_path, monkeypatch
):
    """The field's world begins elsewhere; what is too faint for any picture is left out."""
    pytest.importorskip("safetensors")
    from syncnerf.export import splats as exporting

    job, synced = exporting.restored(finished, tiny_scene)
    with torch.no_grad():
        synced.backend.cloud.opacity_logits[:50] = -9.0
    by = torch.tensor([100.0, 20.0, -3.0], dtype=torch.float64)
    elsewhere = SimpleNamespace(spec=job.spec, checkpoint=job.checkpoint, scene=replace(job.scene, origin=by))
    monkeypatch.setattr(exporting, "restored", lambda run, datadir: (elsewhere, synced))
    exporting.write_splats(finished, tiny_scene, 1, tmp_path / "splats")
    with torch.no_grad():
        here = synced.backend.splats(synced.clock.moments(torch.zeros((), dtype=torch.float64)))
    seen = torch.sigmoid(here.opacity_logits) >= 1 / 255
    assert not seen[:50].any()
    found = columns_of(tmp_path / "splats" / "000000.ply")
    expected = (here.means[seen].double() + by).float()
    np.testing.assert_array_equal(np.stack([found[name] for name in "xyz"], 1), expected)


def test_the_model_holds_every_parameter(finished, tiny_scene, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    out = tmp_path / "out"
    arguments = [f"--datadir={tiny_scene}", f"--splats={finished}", "--moments=1", f"--out={out}"]
    assert main(["export", *arguments]) == 0
    stored = torch.load(max((finished / "checkpoints").iterdir()), weights_only=True)["model"]
    with safetensors.safe_open(out / "splats" / "model.safetensors", "pt") as model:
        assert set(model.keys()) == set(stored)
        for name, values in stored.items():
            torch.testing.assert_close(model.get_tensor(name), values)
        about = model.metadata()
    assert about["backend"] == "gaussians"
    assert "backend = gaussians" in about["config"]
    assert json.loads(about["cameras"])[0] == "cam00"
