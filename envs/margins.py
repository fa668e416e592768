"""What a shop earns on an item when nothing but its price is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def default_margin(price: ArrayLike) -> NDArray[np.float64]:
    """Return ``price * min(0.45, 0.45 * (price / 10) ** -0.5)``, in the currency of ``price``.

    Up to 10 a shop keeps 45 % of the price; above, the share falls with the square root of the
    price (14 % at 100, 4.5 % at 1,000), because dear goods are compared harder across shops. The
    curve is our assumption, not a measured one: a shop that knows its margins brings its own.

    Args:
        price: positive prices, any shape.
    """
    prices = np.asarray(price, dtype=np.float64)
    # min(0.45, ...) written without a power of a price near 0.
    return 0.45 * prices / np.sqrt(np.maximum(prices / 10, 1.0))
