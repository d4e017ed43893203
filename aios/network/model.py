"""AiOS: images in, boxes, keypoints and SMPL-X parameters of everyone out."""

from __future__ import annotations

import dataclasses

from torch import nn

from .backbone import LevelProjections, build_backbone
from .config import AiOSConfig
from .decoder import Decoder
from .encoder import Encoder
from .keypoint_maps import move_to_peaks
from .outputs import AiOSOutput, EncodedImage, PrefixQueries
from .preprocessing import ImageBatch
from .queries import Proposals


class AiOS(nn.Module):
    """All-in-one-stage whole-body network (CVPR 2024); every size is a field of its config.

    The body model is not part of it: `SmplxOutput` holds parameters, `aios.body` turns them into
    meshes.
    """

    def __init__(self, config: AiOSConfig) -> None:
        """Build with fresh weights; `aios.weights` loads trained ones."""
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.backbone)
        self.level_projections = LevelProjections(config, self.backbone.feature_channels)
        self.encoder = Encoder(config)
        self.proposals = Proposals(config)
        self.decoder = Decoder(config)

    def forward(
        self,
        images: ImageBatch,
        prefix: PrefixQueries | None = None,
        *,
        aux_outputs: bool = False,
        keep_attention: bool = False,
    ) -> AiOSOutput:
        """Find people.

        Args:
            images: normalised and padded.
            prefix: extra queries in front of the proposals (denoising in training).
            aux_outputs: also return the outputs of the decoder layers before the last (training).
            keep_attention: also return the sampling points of every decoder layer.

        Returns:
            People slots in the order in which the first stage ranked them, not by final score.
        """
        encoded = self.encode(images)
        proposals, content = self.proposals(encoded)
        result = self.decoder(
            encoded,
            content,
            proposals.boxes.detach(),
            prefix,
            aux_outputs=aux_outputs,
            keep_attention=keep_attention,
        )
        final = result.outputs[-1]
        return AiOSOutput(
            final=final if self.training else move_to_peaks(final, encoded),
            proposals=proposals,
            selected_queries=result.selected_queries,
            encoded=encoded,
            aux_outputs=result.outputs[:-1],
            attention=result.attention,
        )

    def encode(self, images: ImageBatch) -> EncodedImage:
        """Backbone, projection to feature levels, encoder, and keypoint maps if there are any."""
        features = self.backbone(images.pixels)
        encoded = self.encoder(self.level_projections(features), images.padding_mask)
        keypoints = getattr(self.backbone, "keypoints", None)
        if keypoints is None:
            return encoded
        return dataclasses.replace(encoded, keypoint_maps=keypoints(features[0]))
