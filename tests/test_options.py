"""Options: from file, environment and command line, in this order; mistakes are one line that names the nearest key."""

import pytest

from syncnerf.combinations import warn_of_idle
from syncnerf.config import CONCERNS
from syncnerf.errors import UserError
from syncnerf.option import at_home, options_of
from syncnerf.options import build_parser, parse, write_config
from syncnerf_kplanes.spec import KPlanesConfig


@pytest.fixture
def write(tmp_path):
    """Writes a config file, returns the option that names it."""

    def to_file(text: str) -> str:
        path = tmp_path / "config.txt"
        path.write_text(text)
        return f"--config={path}"

    return to_file


def refusal(arguments: list[str]) -> str:
    with pytest.raises(UserError) as caught:
        parse(arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_command_line_beats_environment_beats_file_beats_default(write, monkeypatch):
    file = write("batch_size = 11\nsteps = 12\nlr = 0.5\nexpname = from_file\n")
    monkeypatch.setenv("SYNCNERF_BATCH_SIZE", "21")
    monkeypatch.setenv("SYNCNERF_STEPS", "22")
    monkeypatch.setenv("SYNCNERF_PLANE_CHANNELS", "24")
    config = parse([file, "--batch-size", "31"])
    assert config.sampling.batch_size == 31
    assert config.training.steps == 22
    assert config.training.lr == 0.5
    assert config.run.expname == "from_file"
    assert config.backend_options.planes.plane_channels == 24
    assert config.training.warmup_steps == CONCERNS["training"].warmup_steps


@pytest.mark.parametrize("spelling", ["batch-size", "batch_size"])
def test_dashes_and_underscores_are_the_same(write, spelling):
    assert parse([f"--{spelling}=7"]).sampling.batch_size == 7
    assert parse([f"--{spelling}", "7"]).sampling.batch_size == 7
    assert parse([write(f"{spelling} = 7\n")]).sampling.batch_size == 7
    for other in ("batch-size", "batch_size"):
        assert parse([write(f"{spelling} = 7\n"), f"--{other}=8"]).sampling.batch_size == 8


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--render_only", "1"], True), (["--render-only"], True), (["--render-only=yes"], True),
        (["--render_only", "0"], False), (["--render-only=False"], False), ([], False),
        (["--render-only", "--steps=5"], True),
    ],
)  # fmt: skip
def test_booleans_on_the_command_line(arguments, expected):
    assert parse(arguments).evaluation.render_only is expected


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("1", True), ("on", True), ("false", False), ("0", False)]
)
def test_booleans_in_file_and_environment(write, monkeypatch, text, expected):
    assert parse([write(f"test_optim = {text}\n")]).held_out.test_optim is expected
    monkeypatch.setenv("SYNCNERF_TEST_OPTIM", text)
    assert parse([write(f"test_optim = {'false' if expected else 'true'}\n")]).held_out.test_optim is expected


def test_command_line_can_take_back_what_the_file_switches_on(write):
    assert parse([write("test_optim = true\n"), "--test-optim=false"]).held_out.test_optim is False


def test_unknown_keys_name_the_nearest_known_one(write, monkeypatch):
    assert refusal(["--batchsize=3"]).startswith("unknown option 'batchsize'; did you mean 'batch_size'?")
    assert "did you mean 'plane_channels'?" in refusal([write("plane_chanels = 3\n")])
    assert "unknown option 'plane_chanels'" in refusal([write("plane_chanels = 3\n")])
    # No abbreviations: what works today must not become ambiguous tomorrow.
    assert "unknown option 'step'" in refusal(["--step=3"])
    assert refusal(["--nodes=50"]).startswith("unknown option 'nodes'; it belongs to --backend gaussians")
    assert "it belongs to --backend mixvoxels" in refusal(["--field=mixvoxels"])
    assert refusal(["--backend=mixvoxels", "--field=foo"]).startswith("field = foo: should be one of mixvoxels")
    assert "'stray' belongs to no option" in refusal(["stray"])
    monkeypatch.setenv("SYNCNERF_BATCHSIZE", "3")
    assert refusal([]) == "unknown environment variable 'SYNCNERF_BATCHSIZE'; did you mean 'SYNCNERF_BATCH_SIZE'?"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--steps=many"], ["steps", "'many'", "whole number"]),
        (["--steps=1.5"], ["steps", "'1.5'", "whole number"]),
        (["--lr=fast"], ["lr", "fast"]),
        (["--test-optim=maybe"], ["test-optim", "'maybe'", "neither true nor false"]),
        (["--sampler=magic"], ["sampler", "magic", "proposal", "occupancy"]),
        (["--offset-mode=on"], ["offset_mode", "learn", "off"]),
        (["--backend=kplane"], ["'kplane'", "did you mean 'kplanes'"]),
        (["--plane-scales=1,two"], ["plane_scales", "1,two", "whole numbers"]),
        (["--proposal-samples=64,32,16"], ["proposal_samples", "proposal_resolutions", "equally many"]),
        (["--steps"], ["steps", "expected one argument"]),
        (["--bounds", "-1,-1,-1,1,1,1"], ["expected one argument", "--bounds=-1"]),
        (["--config=/nowhere/config.txt"], ["config", "/nowhere/config.txt"]),
    ],
)
def test_bad_values_are_one_line_that_names_the_option(arguments, parts):
    message = refusal(arguments)
    assert all(part in message for part in parts), message


def test_bad_values_in_file_and_environment_are_one_line_too(write, monkeypatch, tmp_path):
    assert "'many'" in refusal([write("steps = many\n")])
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00steps")
    assert "config file" in refusal([f"--config={tmp_path / 'binary.txt'}"])
    assert str(tmp_path) in refusal([f"--config={tmp_path}"])
    monkeypatch.setenv("SYNCNERF_STEPS", "many")
    assert "'many'" in refusal([])


def test_a_path_from_home_is_one_wherever_it_stands(write, monkeypatch):
    """Shells leave ``--logdir=~/runs`` as it is, and a file has none; no folder is to be called ``~``."""
    monkeypatch.setenv("HOME", "/house/me")
    monkeypatch.setenv("SYNCNERF_CACHE_DIR", "~/cache")
    config = parse([write("logdir = ~/runs\n"), "--datadir=~/my ~/scene", "--expname=~night"])
    assert (config.run.logdir, config.scene.cache_dir) == ("/house/me/runs", "/house/me/cache")
    assert (config.scene.datadir, config.run.expname) == ("/house/me/my ~/scene", "~night")
    plain = ["--out=a=~/b", "a~/b", "--prompt", "~5 people", "-o=x", "", "a\n~/b"]
    assert [at_home(text) for text in plain] == plain
    told = ["--out=/house/me/b", "/house/me", "/house/me/b\nc"]
    assert [at_home(text) for text in ("--out=~/b", "~", "~/b\nc")] == told


def test_a_mark_at_the_beginning_of_a_file_is_no_part_of_it(write):
    assert parse([write("\ufeffsteps = 3\n")]).training.steps == 3


def test_numbers_may_be_grouped():
    assert parse(["--steps=90_000"]).training.steps == 90_000


def test_effective_configuration_gives_the_same_again(write):
    config = parse(
        [
            "--datadir=/data/My Scene, take #2", "--expname=a 'quoted' = name", "--lr=0.00123456789012345",
            "--test-optim", "--exclude-cameras=cam01,cam02", "--plane-scales=1,3", "--field=kplanes_explicit",
            "--steps=17", "--offset-init=some/offsets.json",
        ]
    )  # fmt: skip
    assert parse([write(write_config(config))]) == config
    for name in ("; no comment", "'quoted'", '"quoted"', 'the "big" one #3', "ends in a blank "):
        named = parse([f"--expname={name}"])
        assert parse([write(write_config(named))]).run.expname == name


def test_every_default_survives_the_round_trip(write):
    assert parse([write(write_config(parse([])))]) == parse([])


def test_what_a_run_was_told_to_do_now_is_not_in_its_configuration(write):
    for now in (["--dry-run", "--resume"], ["--render-only", "--ckpt=x.pt"], ["--validate-only"]):
        config = parse([*now, "--steps=3"])
        again = parse([write(write_config(config))])
        assert again.training.steps == 3
        assert again.run == CONCERNS["run"]()
        assert again.evaluation == CONCERNS["evaluation"]()


def test_help_holds_every_option_with_its_words(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    for kind in (*CONCERNS.values(), KPlanesConfig):
        for item in options_of(kind):
            assert f"--{item.name.replace('_', '-')}" in shown
            assert item.metadata["help"].replace("- ", "-") in shown, item.name
            for choice in item.metadata["choices"]:
                assert str(choice) in shown
    assert "(default: 4096)" in shown
    assert "(default: )" not in shown
    assert "(default: None)" not in shown


def test_options_of_all_concerns_have_names_of_their_own():
    names = [item.name for kind in (*CONCERNS.values(), KPlanesConfig) for item in options_of(kind)]
    assert len(names) == len(set(names))
    assert len(build_parser(KPlanesConfig)._actions) == len(names) + 2  # and --help, --config


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--offset-mode=off", "--offset-init=some.json"], ["offset_init = some.json", "offset_mode off", "freeze 0"]),
        (["--offset-mode=off", "--offset-init=sync"], ["offset_init = sync", "offset_mode off"]),
        (["--importance=isg"], ["importance = isg", "dynamic_share is 0"]),
        (["--backend=mixvoxels", "--importance=ist", "--dynamic-share=1"], ["importance = ist", "mixvoxels"]),
        (["--backend=mixvoxels", "--time-sampling=change"], ["time_sampling = change", "all are taken"]),
        (["--backend=gaussians", "--dynamic-share=0.5"], ["dynamic_share = 0.5", "gaussians", "whole views"]),
        (["--backend=gaussians", "--empty-share=0.1"], ["empty_share = 0.1", "gaussians", "whole views"]),
        (["--view-side=16"], ["view_side = 16", "kplanes", "single rays"]),
        (["--backend=gaussians", "--precision=bfloat16"], ["precision = bfloat16", "gaussians", "networks"]),
        (["--time-frames=5"], ["time_frames = 5", "single rays"]),
        (["--time-sampling=change"], ["time_sampling = change", "single rays"]),
        (["--tracks=x.npz"], ["tracks = x.npz", "kplanes", "start from points"]),
        (["--ckpt=x.pt", "--resume"], ["resume", "ckpt = x.pt", "leave one out"]),
        (["--validate-only", "--resume"], ["resume", "validate_only", "leave one out"]),
        (["--render-only", "--validate-only"], ["validate_only", "render_only"]),
        (["--offset-freeze=0.3", "--offset-start=0.5"], ["offset_freeze = 0.3", "offset_start = 0.5", "never move"]),
        (["--offset-freeze=0.3", "--offset-refine-start=0.3"], ["offset_refine_start = 0.3", "never move"]),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(arguments, parts):
    message = refusal(arguments)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    "arguments",
    [
        ["--offset-mode=off", "--offset-init=zero"],
        ["--importance=isg", "--dynamic-share=0.5"],
        ["--backend=mixvoxels", "--time-frames=5", "--time-sampling=change"],
        ["--backend=mixvoxels", "--dynamic-share=0.5", "--empty-share=0.1"],
        ["--backend=gaussians", "--view-side=16"],
        ["--ckpt=x.pt", "--validate-only"],
        ["--offset-freeze=0", "--offset-start=0.5"],
        ["--offset-freeze=0.5", "--offset-start=0.4"],
    ],
)
def test_what_only_looks_like_it_is_taken(arguments):
    parse(arguments)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--hash-levels=8", "--hash-table=12"], "hash_levels, hash_table: without effect, because of field = kplanes"),
        (["--occupancy-times=4"], "occupancy_times: without effect, because of sampler = proposal"),
        (["--field=hash", "--proposal-channels=4"], "proposal_channels: without effect, because of field = hash"),
        (["--sampler=occupancy", "--proposal-tv-weight=0"], "proposal_tv_weight: without effect, because of sampler"),
        (["--backend=mixvoxels", "--field=mixvoxels_latents", "--time-waves=4"], "because of field = mixvoxels_lat"),
        (["--backend=gaussians", "--motion=free", "--nodes=50", "--path-rate=1"], "nodes, path_rate: without effect"),
        (["--test-method=adam", "--test-range=0.5"], "test_range: without effect, because of test_method = adam"),
        (["--test-adam-steps=5"], "test_adam_steps: without effect, because of test_method = gauss-newton"),
        (["--offset-mode=off", "--offset-rates=learn"], "offset_rates: without effect, because of offset_mode = off"),
        (["--isg-gamma=0.1"], "isg_gamma: without effect, because of importance = changing"),
        (["--lr-schedule=constant", "--lr-final=0.1"], "lr_final: without effect, because of lr_schedule = constant"),
    ],
)
def test_an_option_of_another_choice_is_told(caplog, arguments, line):
    warn_of_idle(parse(arguments))
    (message,) = caplog.messages
    assert message.startswith(line) or line in message


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--hash-levels=16"],
        ["--field=hash", "--hash-levels=8"],
        ["--backend=gaussians", "--nodes=50"],
        ["--test-method=adam", "--test-adam-steps=5"],
    ],
)
def test_an_option_that_has_its_say_is_not(caplog, arguments):
    warn_of_idle(parse(arguments))
    assert not caplog.messages
