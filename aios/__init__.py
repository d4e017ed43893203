"""AiOS: whole-body SMPL-X meshes of everyone in a photo, in one stage.

Usage:
    from aios import AiOSPredictor
    prediction = AiOSPredictor.from_pretrained().predict("photo.jpg")

The public names are listed in `__init__.pyi`.  Each is imported on first use, since importing
PyTorch takes seconds.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
