"""Sources of a few random images, and settings of a fast, deterministic run."""

from dataclasses import replace

from tests.helpers.training_samples import random_picture, random_targets
from training.config import CONFIGS
from training.data.batch import Sample
from training.engine.stream import SceneStream
from training.engine.train_config import TrainStage
from training.losses.denoising import DenoisingConfig
from training.losses.loss_weights import LOSS_RULES, LOSS_WEIGHTS
from training.losses.matcher import MATCHING

TINY = CONFIGS["tiny"]
PLAIN = replace(
    TINY,
    stages=(TrainStage(1.0, 64, 2),),
    loss_weights=LOSS_WEIGHTS["released"],
    loss_rules=LOSS_RULES["released"],
    matching=MATCHING["released"],
    denoising=DenoisingConfig(queries=0),
    dense_tokens=0,
    train_batch_norm=False,
)
"""No randomness and no coupling between the images of a batch: no noise, frozen batch norm."""


class FewScenes:
    """Four random images as a source of samples."""

    def __init__(self, body):
        self._samples = [Sample(random_picture(k), random_targets(body, 2, k)) for k in range(4)]

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, index):
        return self._samples[index]


class FewSources:
    """Sources with the same images as scenes, as photos of people, or as both."""

    def __init__(self, body, scenes=True, people=False):
        self.scenes = FewScenes(body) if scenes else None
        self.people = FewScenes(body) if people else None
        self.empty = self.people
        self.has_people = people

    def pick_person(self, random):
        return self.people[int(random.integers(len(self.people)))]


def few_scenes(config, body):
    """Stream of `FewScenes`."""
    return SceneStream(config, FewSources(body))
