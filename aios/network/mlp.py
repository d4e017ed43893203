"""The small perceptron that every head is made of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU between them and none after the last."""

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        num_layers: int = 3,
        zero_last: bool = False,
    ) -> None:
        """`zero_last` starts the last layer at weight and bias 0."""
        super().__init__()
        sizes = [in_features, *[hidden] * (num_layers - 1), out_features]
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        if zero_last:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the output."""
        layer = self.layers[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.last(x)
