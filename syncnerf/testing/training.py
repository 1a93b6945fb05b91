"""The contract's tests of training: losses, groups of parameters, schedules, replaced parameters, checkpoints."""

from __future__ import annotations

import io

import torch

from syncnerf.testing.samples import STEPS, some_batch, training_question
from syncnerf.testing.setting import ContractTests


class TrainingTests(ContractTests):
    """What a backend does while it is trained."""

    def test_losses_do_not_know_the_camera(self, make):
        """The same pixels cost the same, whoever recorded them."""
        backend, batch = make(), some_batch(self.spec)
        answer = backend(training_question(self.spec))
        first = backend.losses(answer, batch, 0)
        batch.cameras = batch.cameras + 5
        second = backend.losses(answer, batch, 0)
        assert {name: value.item() for name, value in second.items()} == {k: v.item() for k, v in first.items()}

    def test_parameter_groups_name_each_parameter_once(self, make):
        """And their learning rates grow with the training's; a schedule of their own is a function of the step."""
        backend = make()
        groups = backend.param_groups(0.25)
        names = [group["name"] for group in groups]
        assert len(set(names)) == len(names)
        assert all(group["lr"] > 0 for group in groups)
        listed = [id(parameter) for group in groups for parameter in group["params"]]
        assert len(set(listed)) == len(listed)
        assert set(listed) == {id(parameter) for parameter in backend.parameters()}
        doubled = backend.param_groups(0.5)
        assert [group["lr"] for group in doubled] == [2 * group["lr"] for group in groups]
        for group in groups:
            if "schedule" in group:
                shares = [group["schedule"](step) for step in (0, STEPS - 1, 0)]
                assert shares[0] == shares[2]
                assert min(shares) >= 0

    def test_what_a_step_replaces_is_said(self, make):
        """Every parameter is the one that it was, or named as what took its place; rows are rows that there were."""
        backend = make()
        for step in range(12):
            before = {id(parameter): parameter for parameter in backend.parameters()}
            sizes = {key: len(value) for key, value in before.items() if value.ndim}
            self.take_steps(backend, range(step, step + 1))
            for item in backend.after_step(step):
                if item.rows is not None:
                    assert item.rows.dtype == torch.int64
                    assert item.rows.shape == item.new.shape[:1]
                    assert ((item.rows >= -1) & (item.rows < sizes[id(item.old)])).all()
                del before[id(item.old)]
                before[id(item.new)] = item.new
            assert before.keys() == {id(parameter) for parameter in backend.parameters()}

    def test_state_moves_to_another_instance(self, make):
        """Everything that training changed travels in the checkpoint; what follows is the same bit for bit."""
        backend, question = make(0), training_question(self.spec)
        for step in range(6):
            self.take_steps(backend, range(step, step + 1))
            backend.after_step(step)
        file = io.BytesIO()
        torch.save(backend.state_dict(), file)
        file.seek(0)
        other = make(1)
        other.load_state_dict(torch.load(file, weights_only=True))
        other.before_step(5)
        with torch.no_grad():
            assert torch.equal(backend(question).rgb, other(question).rgb)
        for some in (backend, other):
            for step in range(6, 9):
                self.take_steps(some, range(step, step + 1))
                some.after_step(step)
        for name, value in backend.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name

    def test_schedules_are_functions_of_the_step_alone(self, make):
        """Whatever steps came before."""
        straight, wandering = make(0), make(0)
        batch, question = some_batch(self.spec), training_question(self.spec)
        for step in (90, 3, 55):
            wandering.before_step(step)
        for step in (0, 10, 40, STEPS - 1):
            straight.before_step(step)
            wandering.before_step((step * 7) % STEPS)
            wandering.before_step(step)
            results = []
            for backend in (straight, wandering):
                answer = backend(question)
                losses = backend.losses(answer, batch, step) | backend.penalties(step)
                results.append((answer.rgb, {name: value.item() for name, value in losses.items()}))
            assert torch.equal(results[0][0], results[1][0])
            assert results[0][1] == results[1][1]
        for step in (4, 8):
            for backend in (straight, wandering):
                self.take_steps(backend, range(step, step + 1))
            assert len(straight.after_step(step)) == len(wandering.after_step(step))
            for name, value in straight.state_dict().items():
                assert torch.equal(value, wandering.state_dict()[name]), name

    def test_kinds_of_steps_are_for_training_in_fixed_shapes(self, make):
        """None means: not to be recorded. A backend may say so always."""
        assert make().step_kind(3) is None
        backend = make(fixed_shapes=True)
        backend.before_step(3)
        assert hash(backend.step_kind(3)) == hash(backend.step_kind(3))
        assert backend.eval().step_kind(3) is None
