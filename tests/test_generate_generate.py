"""``syncnerf generate`` from end to end on a tiny random model: a scene that everything opens, the same for a seed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
from tiny_wan import released_checkpoint, shake, tiny_transformer, write_wan

from syncnerf.cli import main
from syncnerf.errors import UserError
from syncnerf.generate.adapter import ViewSyncAdapter
from syncnerf.generate.denoising import Denoising, Group, Progress, groups, noise_levels, starting_noise
from syncnerf.generate.pipeline import WanFolder, decode, encode
from syncnerf.generate.state import StateFile
from syncnerf.scene import load_scene


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A Wan folder, and ``step20000.ckpt`` in it."""
    folder = write_wan(tmp_path_factory.mktemp("model") / "tiny-wan")
    transformer = tiny_transformer()
    shake(ViewSyncAdapter(transformer))
    torch.save(released_checkpoint(transformer), folder / "step20000.ckpt")
    return folder


def arguments(model: Path, out: Path, *more: str) -> list[str]:
    return [
        "generate", f"--model={model}", f"--view-sync={model / 'step20000.ckpt'}", "--prompt=a ball rolls",
        "--negative-prompt=blurred", "--cameras=arc:2,15,3", f"--out={out}", "--size=48x32", "--frames=9", "--steps=2",
        "--device=cpu", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def generated(model, tmp_path_factory) -> Path:
    """A scene of three views."""
    out = tmp_path_factory.mktemp("generated") / "scene"
    assert main(arguments(model, out, "--cameras=arc:3,15,3")) == 0
    return out


def videos(folder: Path, cache: Path) -> list[np.ndarray]:
    from syncnerf.scene.read_options import ReadOptions

    scene = load_scene(folder, ReadOptions(cache_dir=cache))
    return [np.array(scene.frames(view)) for view in range(len(scene.cameras))]


def test_the_scene_opens_everywhere(generated, tmp_path, capsys):
    assert sorted(path.name for path in generated.parent.iterdir()) == ["scene"]
    assert main(["info", f"--datadir={generated}"]) == 0
    told = capsys.readouterr().out
    assert "syncam" in told
    assert "48x32" in told
    # Noise of a random model: nothing to synchronise by, and both commands say so in their way.
    cache = f"--cache-dir={tmp_path / 'cache'}"
    assert main(["sync", f"--datadir={generated}", f"--out={tmp_path / 'offsets.json'}", cache]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert main(["score-views", f"--datadir={generated}", f"--out={tmp_path / 'scores'}", cache]) == 0
    assert json.loads((tmp_path / "scores" / "scores.json").read_text())["views"] == ["cam01", "cam02", "cam03"]
    record = json.loads((generated / "prompt.json").read_text())
    assert record["origin"] == "generated"
    assert record["prompt"] == "a ball rolls"
    assert record["seed"] == 0
    assert len(record["view_sync_sha256"]) == 64
    assert not any(str(value).startswith("/") for value in record.values())


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two videos, grey levels.

    The same sums come out differently in the last bit now and then, by where in memory their terms lie, and rounding
    and the encoder make a few levels of it. Videos of other noise are more than one apart.
    """
    return float(np.abs(first.astype(float) - second.astype(float)).mean())


def test_a_seed_decides_the_videos(model, generated, tmp_path):
    once = videos(generated, tmp_path / "a")
    assert all(video.shape == (9, 32, 48, 3) for video in once)
    assert not np.array_equal(once[0], once[1])
    assert main(arguments(model, tmp_path / "again", "--cameras=arc:3,15,3")) == 0
    same = videos(tmp_path / "again", tmp_path / "b")
    assert all(difference(*pair) < 0.3 for pair in zip(once, same, strict=True))
    assert main(arguments(model, tmp_path / "other", "--cameras=arc:3,15,3", "--seed=1")) == 0
    other = videos(tmp_path / "other", tmp_path / "c")
    assert difference(once[0], other[0]) > 1


def test_a_killed_run_resumes_with_the_same_result(model, tmp_path):
    """SIGKILL in the middle of the sampling, from outside."""
    whole = arguments(model, tmp_path / "whole", "--steps=40")
    again = arguments(model, tmp_path / "again", "--steps=40")
    process = subprocess.Popen(
        [sys.executable, "-m", "syncnerf", *again], stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    state = tmp_path / ".again.state.safetensors"
    try:
        while not state.exists() and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert state.exists()
    assert not (tmp_path / "again").exists()
    assert main(again) == 2  # there is a state, and nobody asked to go on
    assert main([*again, "--resume"]) == 0
    assert main(whole) == 0
    first, second = (videos(tmp_path / name, tmp_path / f"cache {name}") for name in ("whole", "again"))
    assert all(difference(*pair) < 0.3 for pair in zip(first, second, strict=True))
    assert not state.exists()


def test_an_anchored_run_resumes_between_its_groups(model, tmp_path, monkeypatch, capsys):
    whole = arguments(model, tmp_path / "whole", "--cameras=arc:3,15,3", "--anchored")
    assert main(whole) == 0
    save, saved = StateFile.save, []

    def fail_later(state: StateFile, progress: Progress) -> None:
        save(state, progress)
        saved.append((progress.group, progress.step))
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(StateFile, "save", fail_later)
    again = [text.replace("whole", "again") for text in whole]
    assert main(again) == 130
    assert main([*again, "--resume", "--seed=7"]) == 2
    assert "another seed" in capsys.readouterr().err
    assert main([*again, "--resume"]) == 0
    assert saved == [(0, 1), (1, 0), (1, 1), (2, 0)]
    first, second = (videos(tmp_path / name, tmp_path / f"cache {name}") for name in ("whole", "again"))
    assert all(difference(*pair) < 0.3 for pair in zip(first, second, strict=True))
    assert not list(tmp_path.glob(".*"))


def test_noise_levels_are_the_trained_ones():
    levels = noise_levels(50)
    assert levels[0] == 1.0
    assert levels[-1] == 0.0
    assert len(levels) == 51
    even = 1 - np.arange(51) / 50
    np.testing.assert_allclose(levels.numpy(), 5 * even / (1 + 4 * even))
    assert levels[-2] == pytest.approx(0.0926, abs=1e-4)


def test_noise_depends_on_seed_and_view_alone():
    noise = starting_noise(3, (2, 2), 4)
    assert torch.equal(starting_noise(5, (2, 2), 4)[:3], noise)
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(starting_noise(3, (2, 2), 5), noise)


def test_groups():
    assert groups(4, anchored=False) == [Group((0, 1, 2, 3))]
    assert groups(4, anchored=True) == [Group((0, 1)), Group((2,), (0,)), Group((3,), (0,))]


class StraightFlow(torch.nn.Module):
    """Knows where each video ends: its velocity is exact, so Euler must arrive whatever the steps."""

    dtype = torch.float32

    def __init__(self, ends: torch.Tensor):
        super().__init__()
        self.ends, self.seen = ends, []

    def forward(self, latents, time, texts, return_dict):
        self.seen.append((len(latents), float(time[0]), float(texts.mean())))
        chosen = self.ends[: len(latents)]
        return ((latents - chosen) / (time / 1000).reshape(-1, 1, 1, 1, 1).clamp_min(1e-6) + texts.mean(),)


class NoHooks(ViewSyncAdapter):
    """An adapter of nothing."""

    def __init__(self, transformer):
        self.transformer = transformer

    def cameras(self, poses):
        import contextlib

        return contextlib.nullcontext()


def test_euler_arrives_and_guidance_extrapolates():
    ends = torch.randn(2, 1, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    noise = starting_noise(2, (1, 2, 2, 2), 0)
    model = StraightFlow(ends)
    zero, one = torch.zeros(3, 4), torch.ones(3, 4)
    denoising = Denoising(NoHooks(model), torch.zeros(2, 2, 12), zero, zero, 1.0, noise_levels(7))
    found = denoising.run(noise, groups(2, False), Progress(noise), lambda _: None)
    torch.testing.assert_close(found, ends, atol=1e-5, rtol=0)
    assert [seen[0] for seen in model.seen] == [2] * 7
    np.testing.assert_allclose([seen[1] for seen in model.seen], 1000 * noise_levels(7)[:-1], rtol=1e-6)
    # The prompt's velocity is larger by 1 than the negative one's: guidance 3 makes 3 of it, over a level of 1.
    single = Denoising(NoHooks(model), torch.zeros(2, 2, 12), one, zero, 3.0, torch.tensor([1.0, 0.0]))
    found = single.run(noise, groups(2, False), Progress(noise), lambda _: None)
    torch.testing.assert_close(found, ends - 3, atol=1e-5, rtol=0)


def test_the_autoencoder_is_normalised_both_ways(model):
    autoencoder = WanFolder(model, torch.device("cpu"), torch.float32).autoencoder()
    video = torch.rand(9, 32, 48, 3, generator=torch.Generator().manual_seed(0))
    latents = encode(autoencoder, video)
    assert latents.shape == (16, 3, 4, 6)
    config = autoencoder.config
    plain = autoencoder.encode((2 * video - 1).permute(3, 0, 1, 2)[None]).latent_dist.mode()[0]
    scaled = (plain - torch.tensor(config.latents_mean)[:, None, None, None]) / torch.tensor(config.latents_std)[
        :, None, None, None
    ]
    torch.testing.assert_close(latents, scaled)
    frames = list(decode(autoencoder, latents))
    assert len(frames) == 9
    expected = (autoencoder.decode(plain[None]).sample[0, :, 4].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(frames[4], expected.detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--size=50x32"], "multiples of 16"),
        (["--size=large"], "width x height"),
        (["--frames=10"], "multiple of 4 and one more"),
        (["--prompt= "], "is empty"),
        (["--steps=0"], "from 1"),
        (["--metres=0"], "more than 0"),
        (["--cameras=nowhere"], "no such file"),
        (["--view-sync=nowhere.ckpt"], "no such file"),
        (["--model=nowhere"], "model_index.json"),
    ],
)
def test_what_is_unfit_is_named_and_leaves_nothing(model, tmp_path, capsys, more, message):
    assert main(arguments(model, tmp_path / "scene", *more)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_scene_is_kept(model, generated, capsys):
    assert main(arguments(model, generated)) == 2
    assert "already exists" in capsys.readouterr().err


def test_a_text_encoder_without_words_is_refused(model, monkeypatch):
    """What some versions of transformers make of the file: words that are all zero."""
    from transformers import UMT5EncoderModel

    load = UMT5EncoderModel.from_pretrained

    def forgetful(*args, **keywords):
        encoder = load(*args, **keywords)
        encoder.encoder.embed_tokens.weight.data.zero_()
        return encoder

    monkeypatch.setattr(UMT5EncoderModel, "from_pretrained", forgetful)
    with pytest.raises(UserError, match="word embeddings"):
        WanFolder(model, torch.device("cpu"), torch.float32).encode_texts(["a ball"])
