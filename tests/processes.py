"""Tests in a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import cgru


def python(code, *arguments, **environment):
    """Standard output of a fresh interpreter, which finds the tests' modules too."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CGRU")}
    paths = [inherited.get("PYTHONPATH"), str(Path(__file__).parent)]
    inherited["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(cgru.__file__).parents[1],  # the package under test, whatever lies here
        capture_output=True,
        text=True,
        env=inherited | environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
