from .body.model import BodyModel as BodyModel
from .body.model import BodyModelError as BodyModelError
from .geometry.camera import Camera as Camera
from .media.photo import PhotoError as PhotoError
from .media.photo import read_photo as read_photo
from .network.config import BUILTIN_CONFIG as BUILTIN_CONFIG
from .network.config import AiOSConfig as AiOSConfig
from .network.config import ConfigError as ConfigError
from .network.model import AiOS as AiOS
from .network.outputs import AiOSOutput as AiOSOutput
from .people import People as People
from .prediction import Candidates as Candidates
from .prediction import Prediction as Prediction
from .predictor import AiOSPredictor as AiOSPredictor
from .weights.checkpoint import CheckpointError as CheckpointError
from .weights.load import WeightsInfo as WeightsInfo
from .weights.load import load_model as load_model

__version__: str
