"""The scripts for Keras run with Keras, unchanged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("keras")
SCRIPTS = sorted((Path(__file__).parents[2] / "examples" / "keras").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_for_keras(script):
    if "timeseries_dataset_from_array" in script.read_text():
        pytest.importorskip("tensorflow")  # which Keras makes its datasets of
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, str(script)], env=environment, check=True)
