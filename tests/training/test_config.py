"""Named runs, their variants, and refused settings."""

import json
from dataclasses import replace

import pytest

from aios.network.config import STAGES, AiOSConfig, ConfigError
from aios.network.config_dict import config_from_dict, config_to_dict
from training.config import CONFIGS, TINY_MODEL, VARIANTS, named_config
from training.engine.train_config import TrainConfig, TrainStage


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_run_is_unchanged_by_json(name):
    config = CONFIGS[name]
    assert config_from_dict(TrainConfig, json.loads(json.dumps(config_to_dict(config)))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optim.learning_rat=1", "unknown key 'optim.learning_rat': no 'learning_rat' among"),
        ("speed=1", "unknown key 'speed': no 'speed' among model, stages"),
        ("seed.x=1", "'seed' has no parts"),
        ("stages.7.side=64", "unknown key 'stages.7.side': no '7' among 0 to 1"),
        ("seed=fast", "seed must be a valid integer, not 'fast'"),
        ("precision=fp8", "precision must be 'float32', 'bf16' or 'fp16', not 'fp8'"),
        ("seed", "needs key=value"),
        ("train_people=99", "train_people must not exceed"),
        ('stages=[{"until": 0.5, "side": 64}]', "the last at 1.0"),
        ("minutes=3", "exclude each other"),
        ("optim.drop_epochs=[3]", "drop_epochs need schedule=steps"),
        ("dense_tokens=0", "a dense_only stage needs dense_tokens"),
        ("model.num_heads=5", "num_heads must divide hidden_dim"),
        ("photos.root=/data", "'photos' has no parts"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        named_config("tiny", [change])


def test_contradicting_settings_are_refused():
    with pytest.raises(ConfigError, match="scenes have no epochs"):
        named_config("tiny", ["steps=0", "epochs=2"])
    with pytest.raises(ConfigError, match="no loss would train the proposals"):
        named_config("tiny", ["stages.0.dense_only=false", "dense_tokens=0"])
    with pytest.raises(ConfigError, match="the shares of the data sets sum to 0.9"):
        named_config("paper_phase1", ["photos.sets.0.share=0.3"])


def test_changes_set_their_fields():
    config = named_config(
        "tiny", ["optim.clip_norm=1", "data.real=/x", "steps=0", "minutes=3", "stages.1.side=96"]
    )
    assert config.optim.clip_norm == 1.0
    assert config.data.real == "/x"
    assert config.minutes == 3.0
    assert [stage.side for stage in config.stages] == [64, 96]
    assert config.model == TINY_MODEL


def test_phases_have_the_numbers_of_the_paper_and_of_the_released_program():
    paper = [CONFIGS["paper_phase1"], CONFIGS["paper_phase2"]]
    released = [CONFIGS["released_phase1"], CONFIGS["released_phase2"]]
    for config in (*paper, *released):
        assert config.model == AiOSConfig()
        assert config.effective_batch == 32
        assert (config.optim.clip_norm, config.optim.weight_decay) == (0.1, 1e-4)
        assert (config.optim.backbone_factor, config.ema_decay) == (0.1, 0.9997)
    assert [c.epochs for c in paper] == [c.epochs for c in released] == [60, 50]
    assert [c.optim.learning_rate for c in paper] == [1e-4, 1e-5]
    assert [c.optim.learning_rate for c in released] == [1e-4, 1.414e-5]
    assert [c.optim.drop_epochs for c in paper] == [(50,), (25,)]
    assert [c.optim.drop_epochs for c in released] == [(30, 60), (30, 60)]
    names = [{one.name for one in c.photos.sets} for c in paper]
    assert names[0] == {"agora", "bedlam", "coco"}
    assert names[1] == names[0] | {"egobody", "arctic", "ubody"}
    assert CONFIGS["paper_phase1"].denoising.queries == 0
    assert CONFIGS["released_phase1"].denoising.queries == 100


def test_variants_change_only_the_network():
    for variant, fields in VARIANTS.items():
        config = named_config(f"paper_phase1+{variant}", [])
        assert config.model == replace(AiOSConfig(), **fields)
        assert replace(config, model=AiOSConfig()) == CONFIGS["paper_phase1"]
    both = named_config("tiny+naive+smplx_all_stages", []).model
    assert both == replace(TINY_MODEL, point_tokens=False, smplx_stages=STAGES)
    with pytest.raises(ConfigError, match="unknown variant 'big': choose from attention_full"):
        named_config("tiny+big", [])
    with pytest.raises(ConfigError, match="unknown run 'nothing'"):
        named_config("nothing", [])


def test_effective_batch_is_the_same_for_any_number_of_processes():
    config, stage = CONFIGS["paper_phase1"], TrainStage(1.0, 800, 2)
    assert [config.batches_per_step(stage, n) for n in (1, 2, 8, 16)] == [16, 8, 2, 1]
    assert CONFIGS["builtin"].batches_per_step(stage, 6) == 1
    with pytest.raises(ConfigError, match="32 is not a multiple of 6 processes x 2 images"):
        config.batches_per_step(stage, 6)
