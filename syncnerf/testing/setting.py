"""What the tests of the contract share: how a backend is built, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest
import torch

from syncnerf.backend import Backend, BackendSpec, Execution
from syncnerf.option import configured
from syncnerf.questions import Question
from syncnerf.testing.samples import about_rays, about_views, scene_geometry, some_batch, some_points, training_question


class ContractTests:
    """A backend, built anew for every test.

    Attributes:
        spec: the backend's.
        options: values of its options by name, sizes at which a step takes milliseconds; names it does not know are
            left out.
        variants: further options, for each of which all tests run.
        tolerance: by how much colours may differ where the same pixels are asked for in other company.
        stirred: standard deviation of what is added to every parameter at the start, so that nothing is flat.
        silent: parameters that need not get a gradient from a first batch, by the beginnings of their names.
    """

    spec: ClassVar[BackendSpec]
    options: ClassVar[Mapping[str, Any]] = {}
    variants: ClassVar[list[dict[str, Any]]] = [{}]
    tolerance: ClassVar[float] = 2e-5
    stirred: ClassVar[float] = 0.2
    silent: ClassVar[tuple[str, ...]] = ()

    def pytest_generate_tests(self, metafunc) -> None:
        """Run every test for every variant."""
        if "make" in metafunc.fixturenames:
            ids = ["-".join(map(str, variant.values())) or "plain" for variant in self.variants]
            metafunc.parametrize("make", self.variants, indirect=True, ids=ids)

    @pytest.fixture
    def make(self, request) -> Callable[..., Backend]:
        """Builds the backend anew at every call, its parameters stirred."""

        def build(seed: int = 0, **execution) -> Backend:
            torch.manual_seed(seed)
            config = configured(self.spec.config, {**self.options, **request.param})
            points = some_points() if self.spec.starts_from_points else None
            backend = self.spec.build(config, scene_geometry(points=points), Execution(**execution))
            with torch.no_grad():
                for parameter in backend.parameters():
                    parameter.add_(self.stirred * torch.randn_like(parameter))
            backend.before_step(0)
            return backend

        return build

    def asked(self, backend: Backend) -> list[Question]:
        """Every kind of question that the backend may be asked."""
        return [about_views()] if backend.renders_views else [about_rays(self.spec), about_views()]

    def take_steps(self, backend: Backend, steps: range) -> None:
        """Adam's first steps; what is to be done after each step is left to the caller."""
        batch, question = some_batch(self.spec), training_question(self.spec)
        groups = [{key: group[key] for key in ("params", "lr")} for group in backend.param_groups(1e-2)]
        optimizer = torch.optim.Adam(groups)
        for step in steps:
            backend.before_step(step)
            answer = backend(question, torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            sum((backend.losses(answer, batch, step) | backend.penalties(step)).values()).backward()
            backend.after_backward(answer, batch, step)
            optimizer.step()
