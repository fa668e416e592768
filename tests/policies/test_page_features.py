"""Joint features: what each number is, and which scene it speaks in."""

from __future__ import annotations

import numpy as np

from envs.observation import CLASS_FEATURE, CONTEXT_FEATURES, ITEM_FEATURES
from envs.similarity import SCENES
from policies.page_features import JOINT_FEATURES, joint_features


def test_each_feature_is_what_its_name_says() -> None:
    rng = np.random.default_rng(0)
    context = rng.normal(size=(9, len(CONTEXT_FEATURES))).astype(np.float32)
    items = rng.normal(size=(9, 4, len(ITEM_FEATURES))).astype(np.float32)
    found = joint_features(context, items)
    assert (found.shape, found.dtype) == ((9, 4, len(JOINT_FEATURES)), np.float32)
    for place, name in enumerate(JOINT_FEATURES):
        scene, _, feature = name.partition(":")
        wanted = np.repeat(context[:, CONTEXT_FEATURES.index(scene), None], 4, axis=1)
        if feature in ITEM_FEATURES:
            wanted = wanted * items[..., ITEM_FEATURES.index(feature)]
        else:
            assert feature in ("", "offset")
        np.testing.assert_allclose(found[..., place], wanted, rtol=1e-6)


def test_every_quantity_has_a_weight_in_every_scene() -> None:
    assert len(set(JOINT_FEATURES)) == len(JOINT_FEATURES)
    for scene in SCENES:
        for feature in ITEM_FEATURES:
            assert (f"scene_{scene}:{feature}" in JOINT_FEATURES) == (feature != CLASS_FEATURE)
    assert set(CONTEXT_FEATURES) - {f"scene_{s}" for s in SCENES} < set(JOINT_FEATURES)
