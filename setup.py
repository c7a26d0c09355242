"""Builds the one compiled module; everything else is in pyproject.toml."""

from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildKernels(build_ext):
    """Adds the flags that the vector loops need; the compiler has to be GCC or Clang.

    -O3 turns the loops into vector code; the other two let it do so around square roots and
    comparisons, and change nothing in the results.  -ffast-math is not among them: it would break
    the tests for NaN and, with some compilers, change the whole process's floating-point mode.
    """

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "unix":
            for extension in self.extensions:
                extension.extra_compile_args = [
                    "-O3",
                    "-g0",
                    "-fno-math-errno",
                    "-fno-trapping-math",
                ]
        super().build_extensions()


kernels = Extension(
    "cgru._kernels",
    ["cgru/_kernels.pyx"],
    include_dirs=["cgru", np.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    depends=[str(path) for path in Path("cgru/csrc").glob("*.h")],
)
setup(ext_modules=cythonize([kernels]), cmdclass={"build_ext": BuildKernels})
