"""The engine tcnn: against a stand-in that checks what it is asked for, and, with a GPU, against the torch engine."""

import sys
import types

import pytest
import torch

from syncnerf.encodings.engines import missing
from syncnerf.encodings.fused_mlp import FusedMLP
from syncnerf.encodings.hash_grid import HashGrid
from syncnerf.encodings.hash_grid_layout import GridLayout
from syncnerf.encodings.spherical_harmonics import SphericalHarmonics
from syncnerf.errors import UserError

CUDA = torch.device("cuda")
LAYOUT = GridLayout(4, 5, 2, 12, 4, 1.6, smooth=True)


class StandIn(torch.nn.Module):
    """Takes what tinycudann's modules take, owns as many parameters, and answers with padded outputs."""

    made: list["StandIn"] = []  # noqa: RUF012 emptied by the fixture

    def __init__(self, parameters: int, outputs: int, **record):
        super().__init__()
        self.record, self.outputs = record, outputs
        self.params = torch.nn.Parameter(torch.zeros(parameters))
        StandIn.made.append(self)

    def forward(self, inputs):
        assert inputs.dtype == torch.float32
        width = -(-self.outputs // 16) * 16
        return (inputs.sum(dim=-1, keepdim=True) + self.params.sum()).expand(-1, width).to(torch.float16)


@pytest.fixture
def tinycudann(monkeypatch):
    """A module of that name whose constructors have tinycudann's signatures."""

    def encoding(n_input_dims, encoding_config, seed=1337, dtype=None):
        sizes = {"HashGrid": (LAYOUT.size, LAYOUT.width), "SphericalHarmonics": (0, 16)}[encoding_config["otype"]]
        return StandIn(*sizes, inputs=n_input_dims, config=encoding_config, dtype=dtype)

    def network(n_input_dims, n_output_dims, network_config, seed=1337):
        width, layers = network_config["n_neurons"], network_config["n_hidden_layers"]
        padded, last = -(-n_input_dims // 16) * 16, -(-n_output_dims // 16) * 16
        parameters = width * (padded + (layers - 1) * width + last)
        return StandIn(parameters, n_output_dims, inputs=n_input_dims, config=network_config)

    module = types.ModuleType("tinycudann")
    module.Encoding, module.Network = encoding, network
    monkeypatch.setitem(sys.modules, "tinycudann", module)
    monkeypatch.setattr(StandIn, "made", [])
    return module


def test_a_grid_asks_for_its_own_layout(tinycudann):
    grid = HashGrid(LAYOUT, "tcnn")
    assert not StandIn.made, "made on first use, when there is a device"
    assert grid(torch.rand(7, 4)).shape == (7, LAYOUT.width)
    (made,) = StandIn.made
    assert made.record["inputs"] == 4
    assert made.record["dtype"] == torch.float32
    assert made.record["config"] == {
        "otype": "HashGrid", "n_levels": 5, "n_features_per_level": 2, "log2_hashmap_size": 12, "base_resolution": 4,
        "per_level_scale": 1.6, "interpolation": "Smoothstep",
    }  # fmt: skip


def test_a_network_asks_for_its_own_layout(tinycudann):
    module = FusedMLP(31, 3, 64, 2, "tcnn")
    assert module(torch.rand(7, 31)).shape == (7, 3)
    (made,) = StandIn.made
    assert made.record["inputs"] == 31
    assert made.record["config"] == {
        "otype": "FullyFusedMLP", "activation": "ReLU", "output_activation": "None", "n_neurons": 64,
        "n_hidden_layers": 2,
    }  # fmt: skip


def test_parameters_are_ours_and_gradients_reach_them(tinycudann):
    for module, width in ((HashGrid(LAYOUT, "tcnn"), 4), (FusedMLP(5, 16, 16, 1, "tcnn"), 5)):
        (parameter,) = module.parameters()
        values = torch.rand(3, width, requires_grad=True)
        outputs = module(values)
        assert outputs.dtype == torch.float32
        torch.testing.assert_close(
            outputs[:, 0], values.sum(dim=-1) + parameter.sum(), rtol=2e-3, atol=2e-3, check_dtype=False
        )
        outputs[:, 0].sum().backward()
        assert (parameter.grad == 3).all()
        assert (values.grad == 1).all()
        assert list(module.state_dict()) == list(type(module)(*arguments_of(module)).state_dict())


def arguments_of(module) -> tuple:
    return (LAYOUT,) if isinstance(module, HashGrid) else (5, 16, 16, 1)


def test_harmonics_hand_directions_over_in_the_unit_cube(tinycudann):
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    values = SphericalHarmonics("tcnn")(directions)
    assert values.shape == (2, 16)
    torch.testing.assert_close(values[:, 0], torch.tensor([2.0, 1.0]))
    assert StandIn.made[0].record["config"] == {"otype": "SphericalHarmonics", "degree": 4}


def test_16_bits_under_autocast(tinycudann):
    grid = HashGrid(LAYOUT, "tcnn")
    with torch.autocast("cpu", torch.bfloat16):
        assert grid(torch.rand(2, 4)).dtype == torch.bfloat16
    assert StandIn.made[0].record["dtype"] == torch.float16


def test_another_layout_is_refused(tinycudann):
    grid = HashGrid(GridLayout(4, 5, 2, 13, 4, 1.6), "tcnn")
    with pytest.raises(UserError, match="use --engine triton"):
        grid(torch.rand(2, 4))


@pytest.mark.skipif(
    not torch.cuda.is_available() or missing("tcnn", CUDA) is not None, reason="needs a GPU and tinycudann"
)
@pytest.mark.parametrize("make", [
    pytest.param(lambda engine: HashGrid(LAYOUT, engine), id="grid"),
    pytest.param(lambda engine: FusedMLP(4, 16, 64, 2, engine), id="network"),
])  # fmt: skip
def test_the_real_one_agrees_with_torch(make):
    reference, module = make("torch").to(CUDA), make("tcnn").to(CUDA)
    with torch.no_grad():
        reference.get_parameter(next(iter(reference.state_dict()))).mul_(100 if isinstance(module, HashGrid) else 1)
    module.load_state_dict(reference.state_dict())
    results = []
    for each in (reference, module):
        values = torch.rand(500, 4, generator=torch.Generator(CUDA).manual_seed(0), device=CUDA).requires_grad_()
        outputs = each(values)
        outputs.square().sum().backward()
        results.append([outputs, values.grad, next(each.parameters()).grad])
    for found, expected in zip(*results[::-1], strict=True):
        assert ((found - expected).norm() / expected.norm()).item() < 2e-2
