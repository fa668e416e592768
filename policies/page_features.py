"""What linear baselines see: the item features of each scene, and the session's own context.

The observation's context crossed with its item features (Li, Chu, Langford, Schapire 2010, "A
contextual-bandit approach to personalized news article recommendation", section 5.2.1, take the
outer product too), restricted to the scene: home, similar and search weigh a feature differently,
while the rest of the context moves all candidates of a page alike. On the default shop the whole
outer product (175 numbers) and all products of two item features (199) earn no more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.observation import CLASS_FEATURE, CONTEXT_FEATURES, ITEM_FEATURES

F32 = NDArray[np.float32]

_SCENES = [place for place, name in enumerate(CONTEXT_FEATURES) if name.startswith("scene_")]
_REST = [place for place, name in enumerate(CONTEXT_FEATURES) if not name.startswith("scene_")]
# A class is no quantity: its number would weigh nothing that means something.
_TOLD = [place for place, name in enumerate(ITEM_FEATURES) if name != CLASS_FEATURE]
_ITEM = ("offset", *(ITEM_FEATURES[place] for place in _TOLD))

#: Names of the D joint features, in order.
JOINT_FEATURES = (
    *(f"{CONTEXT_FEATURES[scene]}:{name}" for scene in _SCENES for name in _ITEM),
    *(CONTEXT_FEATURES[place] for place in _REST),
)


def joint_features(context: F32, items: F32) -> F32:
    """Return the joint features of M items on each of B pages, (B, M, D) float32.

    Args:
        context: (B, C_ctx) float32, as the observation has it.
        items: (B, M, F) float32.
    """
    rows, count = items.shape[:2]
    out = np.empty((rows, count, len(JOINT_FEATURES)), dtype=np.float32)
    place, width, told = 0, len(_ITEM), items[..., _TOLD]
    for scene in _SCENES:
        here = context[:, scene, None]
        out[..., place] = here
        np.multiply(told, here[..., None], out=out[..., place + 1 : place + width])
        place += width
    out[..., place:] = context[:, None, _REST]
    return out
