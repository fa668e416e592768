"""Compiling the shop's inner loops with Numba, kept on disk between runs.

Numba's own cache notices a change of the file that a function stands in, but not of the functions
that were inlined into it from other files: an edited equation would go on running as it was. So the
cache lies in a folder named after all sources that kernels are made of: in NUMBA_CACHE_DIR where
that is set, else beside the other compiled files of this package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numba.extending

_HERE = Path(__file__).parent
#: Every file whose functions run inside a kernel.
_SOURCES = ("behaviour.py", "compiled.py", "counter_rng.py", "observation.py", "prefetch.py")

F = TypeVar("F", bound=Callable[..., Any])


def _cache_folder() -> Path:
    digest = hashlib.sha256()
    for path in sorted([*(_HERE / name for name in _SOURCES), *_HERE.glob("kernels*.py")]):
        digest.update(path.read_bytes())
    root = Path(numba.config.CACHE_DIR or _HERE / "__pycache__")
    return root / f"kernels-{digest.hexdigest()[:16]}"


_FOLDER = _cache_folder()


def compiled(function: F) -> F:
    """Compile ``function`` on its first call with each set of argument types.

    Strict arithmetic (no fastmath) and one thread: a row's result depends neither on the number of
    rows nor on its place among them.
    """
    # Numba reads the folder while it decorates; where it cannot be written, Numba's default is.
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(_FOLDER)
    try:
        return numba.njit(cache=True)(function)
    finally:
        numba.config.CACHE_DIR = before


def jittable(function: F) -> F:
    """Let kernels call ``function``, compiled with them; from Python it stays as it is.

    Meant for arithmetic on numbers. An array, or a named tuple of arrays, that a kernel hands on
    has its references counted at each call, which costs more than the arithmetic: loops over
    arrays stand in the kernels themselves.
    """
    return numba.extending.register_jitable(function)
