"""A second forward of AiOS, slow and literal, over the parameters of an (unfolded) `AiOS`.

Written from the description of the network, not from `aios/`: a dense person mask built from the
rule and dense masked attention, `grid_sample` level by level, the box perceptron on every image
token, every head on every layer, frozen batch norm as a step of its own, the body model for all
people of every refining layer.  The fast path is held to it, in numbers and in time.
"""

from dataclasses import dataclass

import torch

from aios.geometry.rotations import rotmat_to_axis_angle
from aios.network.outputs import AiOSOutput, ProposalOutput
from tests.helpers.twin_decoder import decode
from tests.helpers.twin_image import backbone, best, encode, levels, take


@dataclass
class Choice:
    """Which tokens and people to go on with: rounding decides between equal scores.

    That they are the best, in descending order, is checked.
    """

    token_indices: torch.Tensor
    selected_queries: torch.Tensor


def forward(model, images, prefix=None, choice=None, body=None) -> AiOSOutput:
    """As `AiOS.forward` with aux outputs and attention.

    `choice` forces both selections; `body` (a `BodyModel`) is posed for everybody and thrown away.
    """
    features = backbone(model.backbone, model.config.backbone, images.pixels)
    encoded = encode(model, levels(model.level_projections, features), images.padding_mask)
    proposals, content = propose(model, encoded, choice)
    outputs, attention, selected = decode(
        model.decoder, encoded, content.detach(), proposals.boxes.detach(), prefix, choice
    )
    if body is not None:
        for output in outputs:
            pose_everybody(body, output.smplx)
    return AiOSOutput(
        outputs[-1], proposals, selected, encoded, tuple(outputs[:-1]), tuple(attention)
    )


def propose(model, encoded, choice):
    head = model.proposals
    places = []
    for level, (h, w) in enumerate(encoded.spatial_shapes):
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        valid = (encoded.valid_ratios[:, level] * torch.tensor([w, h])).round()
        centre = torch.stack([columns.flatten(), rows.flatten()], -1) + 0.5
        centre = centre / valid[:, None]
        side = torch.full_like(centre, head.proposal_size * 2**level)
        places.append(torch.cat([centre, side], -1))
    place = torch.cat(places, 1)
    inside = ((place > 0.01) & (place < 0.99)).all(-1, keepdim=True)
    if encoded.padding_mask is not None:
        inside = inside & ~encoded.padding_mask[..., None]
    logits = torch.where(inside, torch.log(place / (1 - place)), torch.inf)
    memory = torch.where(inside, encoded.memory, 0.0)
    features = head.norm(head.projection(memory))
    classes = head.class_head(features)
    boxes = (head.box_head(features) + logits).sigmoid()
    order = best(classes.amax(-1), head.num_proposals, choice and choice.token_indices)
    output = ProposalOutput(classes, order, take(classes, order), take(boxes, order))
    return output, take(features, order)


def pose_everybody(body, parameters):
    """Meshes of all people slots of a layer, as the released program makes them."""
    if parameters is None:
        return
    for image in range(len(parameters.betas)):
        rotmats = {
            "global_orient": parameters.body_rotmat[image, :, :1],
            "body_pose": parameters.body_rotmat[image, :, 1:],
            "left_hand_pose": parameters.left_hand_rotmat[image],
            "right_hand_pose": parameters.right_hand_rotmat[image],
            "jaw_pose": parameters.jaw_rotmat[image],
        }
        values = {name: rotmat_to_axis_angle(r).flatten(1) for name, r in rotmats.items()}
        body(values | {"betas": parameters.betas[image]})
