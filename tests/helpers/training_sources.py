"""A handful of made-up pictures as sources of training, and a run that is quick and exact."""

from dataclasses import replace

from tests.helpers.training_samples import random_picture, random_targets
from training.config import CONFIGS
from training.data.batch import Sample
from training.engine.recipe import Stage
from training.engine.stream import SceneStream
from training.losses.denoising import DenoisingConfig
from training.losses.loss_weights import LOSS_RULES, LOSS_WEIGHTS
from training.losses.matcher import MATCHING

TINY = CONFIGS["tiny"]
PLAIN = replace(
    TINY,
    stages=(Stage(1.0, 64, 2),),
    loss_weights=LOSS_WEIGHTS["released"],
    loss_rules=LOSS_RULES["released"],
    matching=MATCHING["released"],
    denoising=DenoisingConfig(queries=0),
    dense_tokens=0,
    learn_batch_norm=False,
)
"""Nothing by chance and nothing that depends on who shares a batch: no noise, frozen norms."""


class FewScenes:
    """Four made-up pictures as a source of samples."""

    def __init__(self, body):
        self._samples = [Sample(random_picture(k), random_targets(body, 2, k)) for k in range(4)]

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, index):
        return self._samples[index]


class FewSources:
    def __init__(self, body):
        self.scenes, self.people, self.empty = FewScenes(body), None, None


def few_scenes(config, body):
    """A stream of them."""
    return SceneStream(config, FewSources(body))
