"""SMPL-X parameters of one person: argument names of the `smplx` package and their sizes."""

SMPLX_SIZES = {
    "betas": 10,
    "expression": 10,
    "global_orient": 3,
    "body_pose": 63,
    "left_hand_pose": 45,
    "right_hand_pose": 45,
    "jaw_pose": 3,
    "transl": 3,
}
"""Numbers per person of each parameter.  Poses are axis-angle in radians, three per joint; `transl`
is in metres."""
SMPLX_NAMES = tuple(SMPLX_SIZES)
