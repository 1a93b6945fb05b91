"""Recorded steps are the steps themselves: Python's part of a step is made of nothing but its kind and of tensors."""

import copy
import logging
from dataclasses import replace

import pytest
import torch
from step_recorder import StepRecorder
from training_runs import assert_same, make_trainer

from syncnerf.backend import Replacement
from syncnerf.training.recordings import MOST_KEPT, REHEARSALS, CudaRecorder
from syncnerf.training.trainer import Trainer

STEPS = 64
FIELDS = ["kplanes", "kplanes_explicit", "hash"]
SCHEDULES = (
    "--time-blur=1.5", "--time-blur-until=0.6", "--offset-start=0.2", "--offset-freeze=0.8", "--offset-l1=0.01",
    "--anneal-steps=20", "--proposal-warmup=10", "--regularize-every=2", "--distortion-weight=0.01",
    "--density-weight=0.01", "--decay-weight=0.1", "--occupancy-start=10", "--occupancy-every=8",
    "--occupancy-threshold=0.2", "--hash-levels=3", "--hash-finest=16", "--hash-table=8", "--proposal-levels=2",
)  # fmt: skip
"""Everything that changes from step to step changes within a few steps."""


@pytest.fixture
def make(tiny_arguments, tmp_path, monkeypatch):
    """Builds trainers of the torch engine alone: what it does, the recorder sees."""
    monkeypatch.setattr("syncnerf_kplanes.plane_lookup._library", lambda: None)
    monkeypatch.setattr("syncnerf.encodings.hash_grid.native_is_there", lambda *_: False)
    monkeypatch.setattr("syncnerf.encodings.fused_mlp.network_fits", lambda *_: False)
    monkeypatch.setattr("syncnerf.rendering.occupied_steps._library", lambda: None)

    def build(name: str, *options: str, fixed: bool = True) -> Trainer:
        trainer = make_trainer([*tiny_arguments, *SCHEDULES, *options], tmp_path / name, steps=STEPS)
        backend = trainer.synced.backend
        backend.execution = replace(backend.execution, fixed_shapes=fixed)
        return trainer

    return build


def train(trainer: Trainer, steps: int = STEPS) -> list[dict[str, float]]:
    losses = [trainer.train_step()[0] for _ in range(steps)]
    return [{name: value.item() for name, value in terms.items()} for terms in losses]


def state(trainer: Trainer) -> dict:
    return {"model": dict(trainer.synced.state_dict()), "adam": trainer.work.optimizer.state_dict()["state"]}


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("sampler", ["proposal", "occupancy"])
@pytest.mark.parametrize("field", FIELDS)
def test_replayed_steps_are_the_steps_themselves_bit_for_bit(make, field, sampler, precision):
    options = (f"--field={field}", f"--sampler={sampler}", f"--precision={precision}")
    plain, recorded = make("plain", *options), make("recorded", *options)
    recorder = recorded.recordings.recorder = StepRecorder(recorded.generator)
    assert train(recorded) == train(plain)
    assert_same(state(recorded), state(plain))
    assert 2 <= recorder.recorded <= MOST_KEPT
    assert recorder.replayed >= STEPS // 5
    rehearsed = recorded.recordings.rehearsed
    assert recorder.replayed + sum(min(count, REHEARSALS) for count in rehearsed.values()) == STEPS
    assert recorded.synced.clock.offsets().abs().max() > 0


@pytest.mark.parametrize("sampler", ["proposal", "occupancy"])
@pytest.mark.parametrize("field", FIELDS)
def test_steps_of_fixed_shapes_are_those_of_exact_ones(make, field, sampler):
    """Fillers, masked samples and samples too dark for a colour change neither losses nor gradients."""
    options = (f"--field={field}", f"--sampler={sampler}", "--colour-threshold=0.01")
    exact, fixed = make("exact", *options, fixed=False), make("fixed", *options)
    for _ in range(14):
        (first,), (second,) = train(exact, 1), train(fixed, 1)
        assert second == pytest.approx(first, rel=1e-4, abs=1e-8)
        for one, other in zip(exact.work.trained, fixed.work.trained, strict=True):
            assert (one.grad is None) == (other.grad is None)
            if one.grad is not None:
                scale = one.grad.abs().max().item()
                torch.testing.assert_close(other.grad, one.grad, rtol=0, atol=1e-4 * scale + 1e-12)
        # Rounding grows from step to step; the next one starts from the same place.
        fixed.synced.load_state_dict(exact.synced.state_dict())
        fixed.work.optimizer.load_state_dict(copy.deepcopy(exact.work.optimizer.state_dict()))
    if sampler == "occupancy":
        assert fixed.synced.backend.budget.limit is not None


def test_what_waits_for_the_device_is_not_recorded_but_still_trains(make, caplog):
    """Steps of exact shapes ask how many samples there are; the recorder refuses them as CUDA would."""
    plain, refused = (make(name, "--precision=float16", fixed=False) for name in ("plain", "refused"))
    refused.recordings.recorder = StepRecorder(refused.generator)
    refused.synced.backend.step_kind = lambda step: 0
    with caplog.at_level(logging.WARNING):
        assert train(refused, 9) == train(plain, 9)
    assert_same(state(refused), state(plain))
    assert [record.message for record in caplog.records if "cannot be recorded" in record.message] == [
        "steps run slower than they could: they cannot be recorded (operation not permitted when stream is capturing: "
        "aten.nonzero.default)"
    ]


def test_a_number_that_python_keeps_is_noticed(make):
    """The first test would fail if a step depended on one: here it does."""
    plain, recorded = make("plain"), make("recorded")
    for trainer in (plain, recorded):
        original = trainer.work.compute
        trainer.work.compute = lambda batch, share, step, generator, original=original: original(
            batch, share * (1.0 + 0.1 * step), step, generator
        )
    recorded.recordings.recorder = StepRecorder(recorded.generator)
    assert train(recorded) != train(plain)


def test_recordings_end_with_the_optimizer_they_were_made_for(make):
    trainer = make("one")
    trainer.recordings.recorder = StepRecorder(trainer.generator)
    train(trainer, 30)
    assert trainer.recordings.kept
    decoder = trainer.synced.backend.field.decoder
    name, old = next(iter(decoder.named_parameters()))
    new = torch.nn.Parameter(old.detach().clone())
    decoder.get_submodule(name.rpartition(".")[0]).register_parameter(name.rpartition(".")[2], new)
    trainer.synced.backend.after_step = lambda step: [Replacement(old, new)]
    train(trainer, 1)
    assert not trainer.recordings.kept


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("engine", ["torch", "triton"])
@pytest.mark.parametrize("sampler", ["proposal", "occupancy"])
@pytest.mark.parametrize("field", FIELDS)
def test_cuda_graphs_replay_the_steps(tiny_arguments, tmp_path, field, sampler, engine):
    """Against the same steps run one by one; a GPU adds in no fixed order, so only nearly the same."""
    options = [*tiny_arguments, *SCHEDULES, f"--field={field}", f"--sampler={sampler}", f"--engine={engine}"]
    options.append("--device=cuda")
    recorded = make_trainer(options, tmp_path / "recorded", steps=STEPS)
    plain = make_trainer([*options, "--cuda-graphs=false"], tmp_path / "plain", steps=STEPS)
    assert isinstance(recorded.recordings.recorder, CudaRecorder)
    assert plain.recordings.recorder is None
    for found, expected in zip(train(recorded), train(plain), strict=True):
        assert found == pytest.approx(expected, rel=0.05, abs=1e-6)
    assert recorded.recordings.kept
    assert not recorded.recordings.refused
