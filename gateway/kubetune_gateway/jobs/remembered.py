"""What a FineTuneJob remembers of the request that made it, in annotations: the spec is for training."""

from __future__ import annotations

from typing import Final

GROUP: Final = "openai.kubetune.dev"

MODEL: Final = f"{GROUP}/model"
"""The base model as it was asked for."""
SUFFIX: Final = f"{GROUP}/suffix"
TRAINING_FILE: Final = f"{GROUP}/training-file"
VALIDATION_FILE: Final = f"{GROUP}/validation-file"
METADATA: Final = f"{GROUP}/metadata"
"""JSON of the client's own pairs: labels could not hold them."""
MULTIPLIER: Final = f"{GROUP}/learning-rate-multiplier"
"""As it was asked for: the rate alone does not tell what it was multiplied with."""
DEPLOYMENT: Final = f"{GROUP}/deployment"
"""Name of the deployment that a client made of its model."""
