"""A serverless function that forecasts: the model is loaded once, when the process starts.

    python examples/deploy/handler.py

writes a model to forecast.cgru in a temporary folder if MODEL does not name one, answers one
request in a fresh process, and prints what the start cost.
"""

import json
import os

os.environ.setdefault("CGRU_NUM_THREADS", "1")  # before cgru is imported

import numpy as np

import cgru

MODEL = cgru.load_model(os.environ["MODEL"]) if "MODEL" in os.environ else None


def handler(event, context=None):
    """Answer a request whose body is JSON: {"x": [[...features], ...steps]}."""
    try:
        x = np.asarray(json.loads(event["body"])["x"], "float32")
        y = MODEL.predict_on_batch(x[np.newaxis])
    except (KeyError, TypeError, ValueError) as error:
        return {"statusCode": 400, "body": json.dumps({"error": str(error)})}
    return {"statusCode": 200, "body": json.dumps({"y": y[0].tolist()})}


def main():
    import subprocess
    import sys
    import tempfile
    import time
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = os.environ.get("MODEL", str(Path(folder) / "forecast.cgru"))
        if MODEL is None:
            layers = [cgru.Input((None, 3)), cgru.layers.GRU(64), cgru.layers.Dense(1)]
            cgru.Sequential(layers).save(path)
        features = (MODEL or cgru.load_model(path)).input_shape[-1]
        body = json.dumps({"x": [[0.5] * features] * 10})
        code = f"import handler; print(handler.handler({{'body': {body!r}}}))"
        start = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            env={**os.environ, "MODEL": path},
            check=True,
            capture_output=True,
            text=True,
        )
        print(answer.stdout.strip())
        print(f"from the start of Python to the answer: {time.perf_counter() - start:.2f} s")
        print(f"model: {Path(path).stat().st_size / 1000:.0f} kB")
    size = sum(f.stat().st_size for f in Path(cgru.__file__).parent.rglob("*") if f.is_file())
    print(f"cgru: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
