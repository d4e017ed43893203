"""Self-attention among the tokens of all people (AiOS, Sec. 3.4 and Fig. 8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry.constants import index_tensor
from .queries import TokenLayout


class PersonAttention(nn.Module):
    """Multi-head self-attention in which people interact through their box tokens.

    `form` selects which token attends to which, see `person_mask`.
    """

    def __init__(self, width: int, heads: int, form: str = "aios") -> None:
        """`width` D, `heads` H, `form` as `AiOSConfig.self_attention`."""
        super().__init__()
        self.heads = heads
        self.form = form
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, tokens: Tensor, position: Tensor, layout: TokenLayout, blocked: Tensor | None
    ) -> Tensor:
        """Attend.

        Args:
            tokens: (B, N + P * T, D): N prefix tokens, then the tokens person by person.
            position: same shape, added to queries and keys.
            layout: T and which tokens are boxes.
            blocked: (B, N, N) bool mask among the prefix tokens, or None without a prefix.

        Returns:
            Same shape as `tokens`.
        """
        query, key, value = self.project(tokens, position)
        attended = self.attend(query, key, value, layout, blocked)
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def project(self, tokens: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens and position (B, S, D) -> queries, keys and values, each (B, H, S, D / H)."""
        width = tokens.shape[-1]
        query_key_weight, value_weight = self.in_proj_weight.split([2 * width, width])
        query_key_bias, value_bias = self.in_proj_bias.split([2 * width, width])
        query_key = F.linear(tokens + position, query_key_weight, query_key_bias)
        value = F.linear(tokens, value_weight, value_bias)
        query, key, value = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (*query_key.chunk(2, -1), value)
        )
        return query, key, value

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, layout: TokenLayout, blocked: Tensor | None
    ) -> Tensor:
        """Masked scaled dot-product attention, each (B, H, N + P * T, D / H) -> same shape."""
        prefix_count = 0 if blocked is None else blocked.shape[1]
        people = (query.shape[2] - prefix_count) // layout.num_tokens
        mask = person_mask(layout, self.form, people, query.device)[None]
        if blocked is not None:
            mask = with_prefix(mask, blocked)
        return F.scaled_dot_product_attention(query, key, value, mask[:, None])


def person_mask(layout: TokenLayout, form: str, people: int, device: torch.device) -> Tensor:
    """Which token attends to which.

    With form "aios", a token attends to the tokens of its own person, and a box token also to the
    box tokens of all people. With "inter_human", a box token attends to all box tokens, any other
    token to itself. With "full", every token attends to every token.

    Args:
        layout: T and which tokens are boxes.
        form: "aios", "inter_human" or "full".
        people: P.
        device: of the result.

    Returns:
        (P * T, P * T) bool, True where the token of the row attends to the token of the column.
    """
    tokens = torch.arange(people * layout.num_tokens, device=device)
    if form == "full":
        return torch.ones(len(tokens), len(tokens), dtype=torch.bool, device=device)
    boxes = index_tensor(layout.box_tokens, device)
    is_box = torch.isin(tokens % layout.num_tokens, boxes)
    own = tokens if form == "inter_human" else tokens // layout.num_tokens
    return (own[:, None] == own) | (is_box[:, None] & is_box)


def with_prefix(mask: Tensor, blocked: Tensor) -> Tensor:
    """Extend a mask by N prefix tokens in front.

    Prefix tokens attend to all people, and to each other where `blocked` is False; no person
    attends to a prefix token.

    Args:
        mask: (1, P * T, P * T) bool, True where the row attends to the column.
        blocked: (B, N, N) bool, True where the row may not attend to the column.

    Returns:
        (B, N + P * T, N + P * T) bool.
    """
    batch, count = blocked.shape[:2]
    of_prefix = F.pad(~blocked, (0, mask.shape[-1]), value=True)
    of_people = F.pad(mask.expand(batch, -1, -1), (count, 0), value=False)
    return torch.cat([of_prefix, of_people], 1)
