"""MLflow flavor for networks with code of the user's own, which no file of Keras's can hold: their weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    from mlflow.models import Model, ModelSignature

WEIGHTS = "model.weights.h5"


def save_model(path: str, mlflow_model: Model, model: keras.Model, signature: ModelSignature) -> None:
    """Save the weights of `model` into the folder `path`; MLflow calls this."""
    mlflow_model.signature = signature
    Path(path).mkdir(parents=True)
    model.save_weights(Path(path) / WEIGHTS)
    mlflow_model.add_flavor("convsweep", weights=WEIGHTS)
    mlflow_model.save(str(Path(path) / "MLmodel"))
