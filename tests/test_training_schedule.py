"""Learning rates over the steps, and what the loop makes of them."""

import itertools
import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wave_backend import synced_waves, wave_colours, wave_scene

from syncnerf.backend import Replacement
from syncnerf.config import OffsetsConfig
from syncnerf.errors import UserError
from syncnerf.sampling.options import SamplingConfig
from syncnerf.sampling.ray_batches import RayBatches
from syncnerf.training.options import TrainingConfig
from syncnerf.training.plan import Plan
from syncnerf.training.ranks import Ranks
from syncnerf.training.schedule import Course, learning_rate_factor
from syncnerf.training.trainer import Trainer


def test_warm_up_then_cosine_down_to_the_final_share():
    config = TrainingConfig(steps=1000, warmup_steps=10, lr_final=0.1)
    assert learning_rate_factor(config, 0) == pytest.approx(0.1 * 1.0)
    for step in (10, 250, 500, 999):
        expected = 0.1 + 0.9 * (1 + math.cos(math.pi * step / 1000)) / 2
        assert learning_rate_factor(config, step) == pytest.approx(expected)
    assert learning_rate_factor(config, 1000) == pytest.approx(0.1)
    assert learning_rate_factor(config, 5000) == pytest.approx(0.1)
    factors = [learning_rate_factor(config, step) for step in range(10, 1001)]
    assert factors == sorted(factors, reverse=True)


def test_constant_schedule_only_warms_up():
    config = TrainingConfig(steps=100, warmup_steps=4, lr_schedule="constant")
    assert [learning_rate_factor(config, step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert learning_rate_factor(TrainingConfig(steps=10, warmup_steps=0, lr_schedule="constant"), 0) == 1.0


def test_another_length_is_reached_without_a_jump():
    """Far along its course a training is given four times the steps, and later a few less."""
    config = TrainingConfig(steps=1000, warmup_steps=50, lr_final=0.02)
    course = Course(1000, 1000)
    steps, factors = range(4000), []
    for step in steps:
        if step in (950, 2000):
            before = learning_rate_factor(config, step, course)
            course = Course(1000, 4000 if step == 950 else 3900, step, before)
            assert learning_rate_factor(config, step, course) == before
        factors.append(learning_rate_factor(config, step, course))
    jumps = [abs(after - before) for before, after in itertools.pairwise(factors[50:])]
    assert max(jumps) < 0.02
    # The naive way, for comparison: the longer schedule at once.
    naive = TrainingConfig(steps=4000, warmup_steps=50, lr_final=0.02)
    assert learning_rate_factor(naive, 950) - factors[949] > 0.5
    # It arrives on the new course, and ends where that ends.
    assert factors[1100] == pytest.approx(learning_rate_factor(naive, 1100))
    assert factors[3999] == pytest.approx(0.02)


def make_trainer(tmp_path, **options) -> Trainer:
    scene = wave_scene(tmp_path, [0.0, 0.1, 0.2])
    synced = synced_waves(scene, OffsetsConfig(offset_lr=0.01))
    batches = RayBatches(scene, SamplingConfig(batch_size=16))
    config = TrainingConfig(**{"steps": 20, "warmup_steps": 5, "log_every": 1, "lr": 0.02} | options)
    return Trainer(synced, batches, Plan(config, tmp_path, "waves", scene.names, scene.frame_interval))


def test_every_group_follows_the_schedule_from_its_own_height(tmp_path):
    trainer = make_trainer(tmp_path)
    for step in range(20):
        trainer.train_step()
        rates = trainer.work.rates
        factor = learning_rate_factor(trainer.config, step)
        assert rates["waves"] == pytest.approx(0.02 * factor)
        # In seconds: its share of the video's 1.9 seconds.
        assert rates["clock_shifts"] == pytest.approx(0.01 * 1.9 * factor)


@pytest.mark.parametrize("rows", [None, [2, -1, 0, 0]])
def test_moments_follow_the_rows_of_replaced_parameters_and_others_keep_theirs(tmp_path, monkeypatch, rows):
    trainer = make_trainer(tmp_path)
    backend, optimizer = trainer.synced.backend, trainer.work.optimizer
    places = None if rows is None else torch.tensor(rows)

    def grow(step: int) -> list[Replacement]:
        old = backend.gain
        values = old.detach() if rows is None else torch.cat([old.detach(), old.detach()[:1]])
        backend.gain = torch.nn.Parameter(values + 1.0)
        return [Replacement(old, backend.gain, places)]

    for _ in range(3):
        trainer.train_step()
    before = {name: value.clone() for name, value in optimizer.state[backend.gain].items()}
    others = {p: {n: v.clone() for n, v in s.items()} for p, s in optimizer.state.items() if p is not backend.gain}
    old = backend.gain
    trainer.work.replace(grow(2))
    assert trainer.work.optimizer is optimizer
    assert old not in optimizer.state
    for parameter, state in others.items():
        assert all(torch.equal(optimizer.state[parameter][name], value) for name, value in state.items())
    if rows is None:
        assert backend.gain not in optimizer.state
    else:
        for name in ("exp_avg", "exp_avg_sq"):
            expected = [0.0 if row < 0 else before[name][row].item() for row in rows]
            assert optimizer.state[backend.gain][name].tolist() == expected
        backend.gain = torch.nn.Parameter(backend.gain.detach()[:3])
        trainer.work.replace([Replacement(trainer.work.trained[0], backend.gain)])
    grown = backend.gain.detach().clone()
    trainer.train_step()
    assert not torch.equal(backend.gain.detach(), grown), "the new parameter is trained"


def test_a_backends_statistics_are_added_up_over_processes(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    mine, sent = torch.ones(2), []
    monkeypatch.setattr(trainer.synced.backend, "after_backward", lambda rendering, batch, step: [mine])
    monkeypatch.setattr(Ranks, "add_up", lambda self, tensors: sent.extend(tensors))
    trainer.train_step()
    assert [tensor is mine for tensor in sent] == [True]


def test_a_loss_that_is_not_finite_stops_the_run_by_name(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    original = trainer.synced.backend.losses

    def losses(rendering, batch, step):
        terms = original(rendering, batch, step)
        return {**terms, "sharpness": terms["photometric"] * (float("nan") if step == 3 else 0.0)}

    monkeypatch.setattr(trainer.synced.backend, "losses", losses)
    with pytest.raises(UserError, match=r"the loss 'sharpness' is not finite at step 3; lower --lr"):
        trainer.fit()
    assert not trainer.synced.training


def test_the_curve_of_psnr_is_of_squared_errors_whatever_is_minimised(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    squares, original = [], trainer.synced.backend.losses

    def losses(rendering, batch, step):
        squares.append(original(rendering, batch, step)["photometric"].item())
        return {"photometric": 0.3 * (rendering.rgb - batch.rgb).abs().mean()}

    monkeypatch.setattr(trainer.synced.backend, "losses", losses)
    trainer.fit()
    events = EventAccumulator(str(trainer.plan.folder)).Reload()
    expected = [-10 * math.log10(value) for value in squares]
    assert [event.value for event in events.Scalars("training/psnr")] == pytest.approx(expected, rel=1e-5)
    assert [tag for tag in events.Tags()["scalars"] if tag.startswith("loss/")] == ["loss/photometric"]


def test_batches_are_rays_with_the_true_colours_of_their_pixels(tmp_path):
    """Against the closed form: colour, direction, camera and frame time of a ray belong together."""
    offsets = [0.0, 0.1, -0.2]
    scene = wave_scene(tmp_path, offsets)
    batches = RayBatches(scene, SamplingConfig(batch_size=500, dynamic_share=0.5))
    batch = batches.draw(torch.Generator().manual_seed(0))
    times = batch.frame_times + torch.tensor(offsets, dtype=torch.float64)[batch.cameras]
    expected = wave_colours(batch.rays.directions.double().numpy(), times.numpy())
    torch.testing.assert_close(batch.rgb.double(), torch.from_numpy(expected), atol=0.6 / 255, rtol=0)
    assert sorted(set(batch.cameras.tolist())) == [1, 2]
    assert len(set(batch.frame_times.tolist())) == 20
    centres = torch.stack([camera.camera_to_world[:3, 3] for camera in scene.cameras])
    assert torch.equal(batch.rays.origins, centres[batch.cameras])
    again = batches.draw(torch.Generator().manual_seed(0))
    assert torch.equal(batch.rays.directions, again.rays.directions)
