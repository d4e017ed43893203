"""Multi-layer perceptron of the heads."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU between them, none after the last."""

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        num_layers: int = 3,
        zero_last: bool = False,
    ) -> None:
        """`zero_last` initialises weight and bias of the last layer to 0."""
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
        """The output layer."""
        layer = self.layers[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.last(x)
