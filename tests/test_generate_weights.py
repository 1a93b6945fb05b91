"""Files of the module's weights: names one to one, nothing executed, what is wrong is named."""

import io
import pickle
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")
from tiny_wan import released_checkpoint, released_name, shake, tiny_transformer

from syncnerf.cli import main
from syncnerf.errors import UserError
from syncnerf.generate import extra
from syncnerf.generate.adapter import ViewSyncAdapter
from syncnerf.generate.weights import diffusers_name, load_view_sync, read_view_sync, write_view_sync


@pytest.fixture
def released(tmp_path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A complete checkpoint of the released kind, and the module's tensors under our names."""
    model = tiny_transformer()
    adapter = ViewSyncAdapter(model)
    shake(adapter)
    path = tmp_path / "step20000.ckpt"
    torch.save(released_checkpoint(model), path)
    return path, {name: value.clone() for name, value in adapter.state_dict().items()}


def edited(path: Path, edit) -> Path:
    """A copy of a checkpoint after ``edit(record)``."""
    record = torch.load(path, weights_only=True)
    edit(record)
    target = path.with_name("edited.ckpt")
    torch.save(record, target)
    return target


def fresh() -> ViewSyncAdapter:
    return ViewSyncAdapter(tiny_transformer(seed=5))


def assert_holds(adapter: ViewSyncAdapter, expected: dict[str, torch.Tensor]) -> None:
    found = adapter.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_names_are_one_to_one():
    model = tiny_transformer()
    ViewSyncAdapter(model)
    names = list(model.state_dict())
    assert len({released_name(name) for name in names}) == len(names)
    for name in names:
        assert diffusers_name(released_name(name)) == name
        assert diffusers_name(name) == name  # our own files hold these
    assert len([name for name in names if ".view_sync." in name]) == 2 * 15


def test_wan_has_as_many_tensors_as_were_released():
    """The real model's shapes, without its numbers: 825 of Wan 1.3B and 450 of the module."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        model = WanTransformer3DModel(num_attention_heads=12, attention_head_dim=128, text_dim=4096, freq_dim=256,
                                      ffn_dim=8960, num_layers=30)  # fmt: skip
        assert len(model.state_dict()) == 825
        adapter = ViewSyncAdapter(model)
    assert len(adapter.state_dict()) == 450
    assert sum(value.numel() for value in adapter.state_dict().values()) == pytest.approx(355e6, rel=0.01)


@pytest.mark.parametrize("kind", ["released", "module alone", "safetensors", "safetensors of ours"])
def test_every_kind_of_file_is_read(released, kind):
    path, expected = released
    if kind == "module alone":
        own = {released_name(name) for name in expected}
        path = edited(path, lambda record: [record.pop(name) for name in list(record) if name not in own])
    elif kind == "safetensors":
        from safetensors.torch import save_file

        record = torch.load(path, weights_only=True)
        path = path.with_suffix(".safetensors")
        save_file(record, path)
    elif kind == "safetensors of ours":
        path = path.with_suffix(".safetensors")
        write_view_sync(path, expected)
    assert read_view_sync(path).keys() == expected.keys()
    adapter = fresh()
    load_view_sync(adapter, path)
    assert_holds(adapter, expected)


def test_conversion_keeps_every_number(released, capsys):
    path, expected = released
    target = path.with_name("module.safetensors")
    assert main(["convert-view-sync", str(path), str(target)]) == 0
    assert "30 tensors" in capsys.readouterr().out
    assert target.stat().st_size < path.stat().st_size
    adapter = fresh()
    load_view_sync(adapter, target)
    assert_holds(adapter, expected)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: r.pop("blocks.1.projector.bias"), r"lacks blocks\.1\.view_sync\.out\.bias"),
        (lambda r: r.pop("blocks.0.ffn.2.bias"), r"lacks blocks\.0\.ffn\.net\.2\.bias"),
        (lambda r: r.update({"blocks.2.projector.bias": torch.zeros(24)}), r"holds blocks\.2\.view_sync\.out\.bias"),
        (lambda r: r.update({"blocks.0.strange": torch.zeros(2)}), r"holds blocks\.0\.strange"),
        (lambda r: r.update({"blocks.0.projector.bias": torch.zeros(25)}), r"shape \(25,\)"),
        (lambda r: r.update({"blocks.0.view_sync.out.bias": torch.zeros(24)}), "twice"),
        (
            lambda r: [r.pop(n) for n in list(r) if diffusers_name(n) != n and "view_sync" in diffusers_name(n)],
            "no tens",
        ),
        (lambda r: r.update({"optimizer": {"step": 3}}), "flat table"),
    ],
)
def test_what_does_not_fit_is_named(released, edit, message):
    path = edited(released[0], edit)
    adapter = fresh()
    before = {name: value.clone() for name, value in adapter.state_dict().items()}
    with pytest.raises(UserError, match=message) as caught:
        load_view_sync(adapter, path)
    assert str(path) in str(caught.value)
    assert_holds(adapter, before)


def test_incomplete_blocks_are_not_converted(released):
    path = edited(released[0], lambda record: record.pop("blocks.0.mvs_attn.norm_q.weight"))
    target = path.with_name("module.safetensors")
    assert main(["convert-view-sync", str(path), str(target)]) == 2
    assert not target.exists()


class Malicious:
    """Would change the interpreter if it were unpickled."""

    def __reduce__(self):
        return (sys.setrecursionlimit, (4321,))


def test_nothing_in_a_file_is_executed(tmp_path):
    path = tmp_path / "step1.ckpt"
    torch.save({"blocks.0.projector.bias": Malicious()}, path)
    with pytest.raises(UserError, match="not a checkpoint of tensors"):
        read_view_sync(path)
    assert sys.getrecursionlimit() != 4321


@pytest.mark.parametrize("name", ["step1.ckpt", "module.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no tensors here", pickle.dumps({"a": 1})])
def test_files_that_are_none_are_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(io.BytesIO(content).getvalue())
    with pytest.raises(UserError, match=name):
        read_view_sync(path)
    with pytest.raises(UserError, match="no such file"):
        read_view_sync(tmp_path / "none.ckpt")


def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extra, "PACKAGES", ("a_package_that_nobody_has",))
    assert main(["convert-view-sync", str(tmp_path / "a.ckpt"), str(tmp_path / "b.safetensors")]) == 2
    assert "syncnerf[generate]" in capsys.readouterr().err
