from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Trains two convolutions for a step, so that the order of the axes and the type of the numbers matter.
TRAINED = """
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from tests.helpers.training import trained
overrides = ["data=digits", "data.limit=64", "model.padding=same", "model.filters=2", "trainer.epochs=1"]
trained(compose(RunConfig, "train", [*overrides, "trainer.threads=1", "trainer.precision=float32"]))
import keras
print(keras.backend.backend(), keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon())
"""


@pytest.mark.slow
def test_the_users_settings_of_keras_have_no_effect(tmp_path: Path) -> None:
    settings = {"backend": "torch", "image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.1}
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings | {"nnx_enabled": True}))
    home = {"HOME": str(tmp_path), "KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path / ".keras")}
    done = subprocess.run([sys.executable, "-c", TRAINED], env=os.environ | home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["tensorflow", "channels_last", "float32", "1e-07"]
