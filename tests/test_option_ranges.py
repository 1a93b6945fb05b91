"""Options that are numbers: every one has a range with a reason, and what lies in it can be trained with."""

import argparse
import functools
import math

import pytest
import torch
from small_fields import GAUSSIANS_OPTIONS, KPLANES_OPTIONS, MIXVOXELS_OPTIONS, SMALL

from syncnerf.cli import _parser, main
from syncnerf.combinations import OF_SOME_BATCHES
from syncnerf.config import CONCERNS
from syncnerf.errors import UserError
from syncnerf.installed import discover_backends
from syncnerf.option import Number, Range, configured, idle_options, option_values, options_of, whole_numbers
from syncnerf.options import parse
from syncnerf.testing.samples import scene_geometry, some_batch, training_question

WORDS = ("-1", "0", "1", "nan", "inf", "-inf", "9" * 20, "1e300")
"""What is tried with every option."""
AGREEMENTS = ("at least grid_resolution", "at least hash_coarsest", "equally many numbers", "three whole numbers")
"""Two options may have to agree, whatever the range of each."""
TINY = {
    "mask_resolution": 8, "mask_times": 2, "mask_start": 0, "query_width": 16,
    "ray_steps": 16, "density_ranks": "4,4,4", "appearance_ranks": "8,4,4", "variation_ranks": "4,4,4",
    "time_waves": 3,
}  # fmt: skip
VARIANTS = {
    "kplanes": ({"field": "kplanes", "sampler": "proposal"}, {"field": "hash", "sampler": "occupancy"}),
    "mixvoxels": (TINY | {"shrink_step": 1, "upsample_steps": "1", "final_resolution": 14},),
    "gaussians": ({"motion": "scaffold", "gaussians": 60}, {"motion": "free", "gaussians": 60}),
}


@functools.cache
def kinds() -> dict[str, type]:
    """Every dataclass of options, by the backend that it needs (or the concern's name)."""
    return CONCERNS | {name: spec.config for name, spec in discover_backends().items()}


def numeric(kind: type) -> list:
    """The options of a dataclass that are numbers, or lists of numbers."""
    return [
        item
        for item in options_of(kind)
        if not isinstance(item.default, bool)
        and (isinstance(item.default, int | float) or item.metadata["range"] is not None)
    ]


NUMBERS = [(name, item) for name, kind in kinds().items() for item in numeric(kind)]


def allowed(item, text: str) -> bool:
    """What the option's range or choices say of a text, by another way than the code under test."""
    try:
        value = float(text) if isinstance(item.default, float) else int(text)
    except ValueError:
        return False
    if item.metadata["range"] is None:
        return value in item.metadata["choices"]
    limits = item.metadata["range"]
    inside = limits.least <= value <= limits.most
    inside &= not (limits.above and value == limits.least) and not (limits.below and value == limits.most)
    return inside or value == limits.also


@pytest.mark.parametrize(("kind", "item"), NUMBERS, ids=lambda value: getattr(value, "name", value))
def test_every_number_has_a_range_and_each_value_is_fine_or_one_line(kind, item):
    limits, choices = item.metadata["range"], item.metadata["choices"]
    assert (limits is not None and len(limits.reason) > 5) or choices, "no range"
    for text in WORDS:
        try:
            config = configured(kinds()[kind], {item.name: type(item.default)(text)})
        except ValueError:  # no number of the option's type: the parser says so
            message = refusal(kind, item.name, text)
            assert "whole number" in message
        except UserError as error:
            message = str(error)
            assert not allowed(item, text) or message.endswith(AGREEMENTS)
        else:
            assert allowed(item, text), text
            assert math.isfinite(float(option_values(config)[item.name]))
            continue
        assert "\n" not in message
        assert item.name in message.replace("-", "_")
        assert len(message) < 300
    assert not allowed(item, "inf")
    assert item.name in refusal(kind, item.name, "inf").replace("-", "_")


def refusal(kind: str, name: str, text: str) -> str:
    """What the whole command line says of a value."""
    backend = kind if kind not in CONCERNS else "kplanes"
    with pytest.raises(UserError) as caught:
        parse([f"--backend={backend}", f"--{name}={text}"])
    return str(caught.value)


def commands_numbers() -> list[tuple[str, argparse.Action]]:
    """Every option with a number of every command but ``train``, with the command's name."""
    (commands,) = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    actions = [(name, action) for name, parser in commands.choices.items() for action in parser._actions]
    return [pair for pair in actions if isinstance(pair[1].type, Number) or pair[1].type in (int, float)]


@pytest.mark.parametrize(("command", "action"), commands_numbers(), ids=lambda value: getattr(value, "dest", value))
def test_every_number_of_every_command_has_a_range(capsys, command, action):
    assert isinstance(action.type, Number)
    assert len(action.type.allowed.reason) > 5
    assert str(action.type.allowed) in action.help
    for text in WORDS:
        try:
            value = action.type(text)
        except argparse.ArgumentTypeError:
            assert main([command, f"{action.option_strings[0]}={text}"]) == 2
            shown = capsys.readouterr().err
            assert shown.startswith("syncnerf: error: ")
            assert shown.count("\n") == 1
            assert action.option_strings[0] in shown
        else:
            assert math.isfinite(value)
            limits = action.type.allowed
            assert limits.least <= value <= limits.most or value == limits.also
    assert action.default is None or action.type.allowed.admits(action.default)


def test_a_range_says_what_it_is():
    assert str(Range(1, 2**24, "r")) == "from 1 to 16_777_216"
    assert str(Range(2, 9, "r", also=0)) == "0, or from 2 to 9"
    assert str(Range(0, 1, "r", above=True)) == "more than 0 and at most 1"
    assert str(Range(0, 1, "r", below=True)) == "at least 0 and less than 1"
    for broken in ((2, 1, "r"), (0, math.inf, "r"), (math.nan, 1, "r"), (0, 1, "")):
        with pytest.raises(ValueError, match="two finite ends"):
            Range(*broken)


@pytest.mark.parametrize("backend", VARIANTS)
def test_what_is_allowed_of_a_field_can_be_trained(backend):
    """Every number of the backend at 0, 1 and its least: refused in one line, without effect, or two steps that run."""
    spec = discover_backends()[backend]
    tried = 0
    for choice in VARIANTS[backend]:
        sizes = SMALL | choice
        for item in numeric(spec.config):
            for value in small_values(item):
                try:
                    config = configured(spec.config, {**sizes, item.name: value})
                except UserError:
                    continue
                if any(item.name in names for names in idle_options(config).values()):
                    continue
                one_step(spec, spec.build(config, scene_geometry()))
                tried += 1
    assert tried > 50


def small_values(item) -> list:
    limits = item.metadata["range"]
    if isinstance(item.default, str):
        entries = len(whole_numbers(type("", (), {"x": item.default}), "x"))
        texts = {",".join([str(number)] * entries) for number in (0, 1, limits.least)}
        return sorted(texts)
    numbers = {0, 1} if limits is None else {0, 1, limits.least + (1e-3 if limits.above else 0)}
    return [type(item.default)(number) for number in sorted(numbers)]


def one_step(spec, backend) -> None:
    """Render, differentiate, look around, and render without gradients; all numbers stay finite."""
    question, batch, generator = training_question(spec), some_batch(spec), torch.Generator().manual_seed(0)
    backend.train()
    for step in range(2):
        backend.before_step(step)
        rendering = backend(question, generator)
        terms = {**backend.losses(rendering, batch, step), **backend.penalties(step)}
        loss = sum(term for term in terms.values())
        assert loss.isfinite(), terms
        loss.backward()
        backend.after_backward(rendering, batch, step)
        backend.after_step(step)
    backend.eval()
    with torch.no_grad():
        assert backend(question).rgb.isfinite().all()


SHORT = ("--steps=2", "--render-frames=1", "--test-frames=1", "--image-every=0", "--test-optim")
FIELDS = {"kplanes": KPLANES_OPTIONS, "mixvoxels": MIXVOXELS_OPTIONS, "gaussians": GAUSSIANS_OPTIONS}
HELD = {"steps", "lr", "test_frames", "test_steps", "batch_size", "downsample", "render_chunk"}
"""Kept at a test's own size: at their least these take long, or nothing is left to see."""
HELD |= {"time_frames", "view_side", "offset_start", "offset_refine_start", "near", "far"}
"""At 1 these are refused together with others, or by the backend."""


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("backend", FIELDS)
@pytest.mark.parametrize("number", [0, 1], ids=["least", "one"])
def test_a_run_with_every_number_at_its_least_or_at_one_ends_well(tiny_scene, tmp_path, backend, number):
    spec = discover_backends()[backend]
    arguments = [f"--datadir={tiny_scene}", f"--logdir={tmp_path}", "--offset-init=zero", *FIELDS[backend], *SHORT]
    arguments.append(f"--backend={backend}")
    given = {part.split("=")[0].lstrip("-").replace("-", "_") for part in arguments}
    for name in CONCERNS:
        for item in numeric(CONCERNS[name]):
            limits = item.metadata["range"]
            value = limits.least + (1e-3 if limits.above else 0) if number == 0 else 1
            suits = spec.trains_on in OF_SOME_BATCHES.get(item.name, (spec.trains_on,))
            if suits and item.name not in given | HELD and limits.admits(value):
                arguments.append(f"--{item.name}={value}")
    assert main(["train", *arguments]) == 0
    assert (tmp_path / "run" / "report.html").exists()
