"""Asking the processor for memory that a kernel will read soon.

Among a million items nearly every gather misses the caches. A kernel that names what it will read a
few rows on lets the reads overlap: the step costs about what it costs among a thousand.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_untracked
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

#: How many rows a kernel looks ahead.
AHEAD = 8
#: float32 numbers in a cache line.
LINE = 16


@intrinsic
def prefetch(typingctx: Any, array: Any, position: Any) -> Any:
    """Ask for the cache line of ``array.ravel()[position]`` (a contiguous array); changes nothing.

    The position may lie a little outside: a prefetch never faults.
    """

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = make_array(signature.args[0])(context, builder, values[0]).data
        pointer = builder.bitcast(builder.gep(data, [values[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number]),
            "llvm.prefetch.p0",
        )
        # To read (0), worth keeping in all caches (3), data (1).
        builder.call(function, [pointer, number(0), number(3), number(1)])
        return impl_ret_untracked(context, builder, types.void, context.get_dummy_value())

    return types.void(array, types.intp), code
