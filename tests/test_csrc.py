"""The C part on its own: compiled for this machine, and for another one that is emulated."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parent / "cgru" / "csrc"
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)] or ["cc"]

needs_sources = pytest.mark.skipif(
    not (SOURCES / "levels.h").exists(), reason="needs the source tree"
)


def check(compiler, tmp_path, *options, runner=()):
    program = tmp_path / "check"
    command = [compiler, "-O2", "-g0", "-fno-math-errno", "-fno-trapping-math", "-Wall"]
    command += ["-Wno-unused-function", "-Wno-psabi", *options, f"-I{SOURCES}"]
    command += [str(HERE / "csrc" / "check.c"), "-o", str(program), "-lm", "-lpthread"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert not built.stderr, "the compiler warns: " + built.stderr
    done = subprocess.run([*runner, str(program)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert "0 failures" in done.stdout


@needs_sources
@pytest.mark.parametrize("compiler", COMPILERS)
def test_on_this_machine(tmp_path, compiler):
    if not shutil.which(compiler):
        pytest.skip("needs a C compiler")
    # The other tests run the optimized code, which takes the compiler most of a minute.
    check(compiler, tmp_path, "-O0")


@needs_sources
@pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64")),
    reason="needs gcc for aarch64 and qemu (Debian: gcc-aarch64-linux-gnu, qemu-user)",
)
def test_on_emulated_aarch64(tmp_path):
    check("aarch64-linux-gnu-gcc", tmp_path, "-static", runner=["qemu-aarch64"])
