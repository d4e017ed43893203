"""The measurement of sliding feet."""

from aios.body.model import BodyModel
from aios.resources import STANDIN_BODY
from tests.benchmark.feet import measure


def test_feet_slide_less_and_distances_improve():
    figures = measure(BodyModel.load(STANDIN_BODY), people=3, clips=1)
    assert figures.slide[1] < figures.slide[0] / 2
    assert figures.distance[1] < figures.distance[0]
    assert figures.height[1] < figures.height[0]
    assert figures.picture[1] < figures.picture[0] + 1
