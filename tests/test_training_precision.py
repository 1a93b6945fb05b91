"""16-bit training follows the 32-bit one, keeps its parameters in 32 bits, and survives steps that overflow."""

import pytest
import torch
from small_fields import KPLANES_OPTIONS, MIXVOXELS_OPTIONS
from training_runs import assert_same, load, make_trainer

from syncnerf.training.checkpoints import list_checkpoints


def losses_of(trainer, steps: int) -> list[float]:
    return [trainer.train_step()[0]["photometric"].item() for _ in range(steps)]


FIELDS = {
    "kplanes": KPLANES_OPTIONS,
    "hash": (*KPLANES_OPTIONS, "--field=hash", "--hash-levels=4", "--hash-finest=32", "--hash-table=8"),
    "mixvoxels": (*MIXVOXELS_OPTIONS, "--upsample-steps=5,20", "--shrink-step=0"),
}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("field", FIELDS)
def test_half_precision_trains_like_single(tiny_scene, tmp_path, precision, field):
    arguments = [f"--datadir={tiny_scene}", f"--logdir={tmp_path / 'runs'}", "--offset-init=zero", *FIELDS[field]]
    expected = losses_of(make_trainer(arguments, tmp_path / "single"), 12)
    trainer = make_trainer([*arguments, f"--precision={precision}"], tmp_path / "half")
    found = losses_of(trainer, 12)
    # Eight bits (bfloat16) of each number in the networks; the same batches and the same jitter.
    assert found == pytest.approx(expected, rel=0.03)
    assert found != expected
    for name, parameter in trainer.synced.named_parameters():
        assert parameter.dtype == (torch.float64 if name.startswith("clock") else torch.float32), name
    assert trainer.synced.clock.gradient_mean.isfinite().all()


def test_a_step_that_overflows_changes_nothing_but_the_scale(tiny_arguments, tmp_path):
    trainer = make_trainer([*tiny_arguments, "--precision=float16"], tmp_path)
    losses_of(trainer, 2)
    before = {name: value.detach().clone() for name, value in trainer.synced.named_parameters()}
    scale = trainer.work.scaler.get_scale()
    handle = next(trainer.synced.backend.field.decoder.parameters()).register_hook(lambda g: g * torch.inf)
    losses_of(trainer, 1)
    handle.remove()
    assert all(torch.equal(value, before[name]) for name, value in trainer.synced.named_parameters())
    assert trainer.work.scaler.get_scale() == scale / 2
    losses_of(trainer, 1)
    assert not all(torch.equal(value, before[name]) for name, value in trainer.synced.named_parameters())


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_scaled_run_resumes_exactly_however_far_ahead_batches_were_drawn(tiny_arguments, tmp_path, ahead):
    arguments = [*tiny_arguments, "--precision=float16", "--dynamic-share=0.5"]
    straight = make_trainer(arguments, tmp_path / "straight", prefetch=0)
    losses_of(straight, 9)
    first = make_trainer(arguments, tmp_path / "stopped", prefetch=ahead)
    losses_of(first, 5)
    first.save()
    newest = list_checkpoints(tmp_path / "stopped" / "checkpoints")[-1]
    second = make_trainer(arguments, tmp_path / "stopped", newest, prefetch=ahead)
    second.restore(load(second, newest))
    losses_of(second, 4)
    assert_same(dict(second.synced.state_dict()), dict(straight.synced.state_dict()))
    assert torch.equal(second.supply.state(), straight.supply.state())
    assert second.work.scaler.state_dict() == straight.work.scaler.state_dict()
    for trainer in (first, second):
        trainer.supply.close()
