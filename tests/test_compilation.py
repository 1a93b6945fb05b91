"""What torch compiles computes the same; what it cannot compile runs as it is."""

import logging
import shutil

import pytest
import torch

from syncnerf.backend import Execution
from syncnerf.compilation import LONG_TRAINING, compilation_pays, compiled
from syncnerf.option import configured
from syncnerf.testing.samples import scene_geometry
from syncnerf_kplanes.adapter import KPlanesBackend
from syncnerf_kplanes.spec import KPlanesConfig

SMALL = {
    "plane_resolution": 8, "plane_scales": "1,2", "plane_channels": 8, "time_resolution": 6, "hash_levels": 3,
    "hash_table": 8, "hash_finest": 16, "proposal_samples": "16", "proposal_resolutions": "8", "proposal_levels": 2,
    "proposal_table": 8, "decay_weight": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("field", ["kplanes", "hash"])
@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_compiled_penalties_have_the_values_and_gradients_of_plain_ones(field, caplog):
    backends = []
    for choice in (False, True):
        torch.manual_seed(0)
        config = configured(KPlanesConfig, SMALL | {"field": field})
        backends.append(KPlanesBackend(config, scene_geometry(), Execution(compiled=choice)))
    with caplog.at_level(logging.WARNING):
        plain, fast = (backend.penalties(0) for backend in backends)
    assert not [record for record in caplog.records if "not compiled" in record.message]
    assert plain.keys() == fast.keys()
    for name, value in plain.items():
        torch.testing.assert_close(fast[name], value, rtol=1e-5, atol=1e-9)
    gradients = []
    for backend, terms in zip(backends, (plain, fast), strict=True):
        touched = [p for name, p in backend.named_parameters() if ".features." in name]
        gradients.append(torch.autograd.grad(sum(terms.values()), touched, allow_unused=True))
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients[0])
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-9)


def test_without_a_compiler_the_function_runs_as_it_is(monkeypatch, caplog):
    def refuse(function):
        def failing(*_):
            raise RuntimeError("no C++ compiler\nand much more")

        return failing

    monkeypatch.setattr(torch, "compile", refuse)

    def double(value):
        return 2 * value

    function = compiled(double, True)
    with caplog.at_level(logging.WARNING):
        assert [function(2), function(3)] == [4, 6]
    assert [record.message for record in caplog.records] == ["double is not compiled: no C++ compiler"]
    assert compiled(double, False) is double


def test_only_long_trainings_compile_of_themselves():
    assert [compilation_pays("auto", steps) for steps in (LONG_TRAINING - 1, LONG_TRAINING)] == [False, True]
    assert compilation_pays("on", 1)
    assert not compilation_pays("off", 10**6)
