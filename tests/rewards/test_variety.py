"""What everybody says is worn; what nobody says is no way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rewards.variety import MEMORY, VarietyReward

A, B, C = "¶ pick it for ¤ ¶", "¶ you get ¤ here ¶", "¶ it has ¤ ¶"


def test_wear_by_hand() -> None:
    """A, A, C: the pair (¤, ¶) is in all, A's four others in one other text, C's in none."""
    found = VarietyReward([A, B, C]).wear([A, A, C])
    np.testing.assert_allclose(found, [(4 * 0.5 + 1) / 5] * 2 + [(3 * 0 + 1) / 4])


def test_one_more_of_the_same_text_wears_it() -> None:
    """Each copy of a constant text lowers what the copies earn, up to a batch of nothing else."""
    reward = VarietyReward([A, B, C])
    wear = [reward.wear([A] * copies + [B] * (20 - copies))[0] for copies in (1, 2, 5, 10, 20)]
    assert (np.diff(wear) > 0).all()
    assert wear[0] == 0
    assert wear[-1] == 1


def test_a_pair_said_twice_in_a_text_counts_once() -> None:
    """Stammering is a matter of style; here it neither pays nor costs."""
    reward = VarietyReward([])
    said, again = "¶ so it so it ¶", "¶ so it ¶"
    # Distinct pairs: ¶so so-it it-so it¶; the other has ¶so so-it it¶.
    np.testing.assert_allclose(reward.wear([said, again]), [3 / 4, 1])


def test_scrambled_words_are_no_variety() -> None:
    """Every pair that no reference has is worn out, so word salad earns least of all."""
    reward = VarietyReward([A, B, C])
    salads = ["¶ ¤ for it pick ¶", "¶ here you ¤ get ¶", "¶ blorp ¤ zing ¶", "¶ has it get you ¶"]
    found = reward.wear([A, A, A, B, *salads])
    assert found[:4].max() < found[4:].min()
    assert found[4:].min() == 1


def test_using_the_references_evenly_is_best_for_the_batch() -> None:
    """Mean wear of a batch is least when its sentences are spread evenly."""
    reward = VarietyReward([A, B, C])
    even, skew, same = (
        [A] * a + [B] * b + [C] * c for a, b, c in ((4, 4, 4), (8, 2, 2), (12, 0, 0))
    )
    means = [float(reward.wear(batch).mean()) for batch in (even, skew, same)]
    assert means == sorted(means)
    assert means[0] < means[1] < means[2] == 1


def test_earlier_batches_are_remembered_and_fade() -> None:
    reward = VarietyReward([A, B, C])
    reward.learn([A] * 10)
    fresh = [A, B, C, B, C]
    first = reward.wear(fresh)[0]
    # (¤, ¶) is in two of the others' four texts; it was in all before. A's other four are new.
    now = (4 * 0 + 2 / 4) / 5
    assert first == pytest.approx((1 - MEMORY) * now + MEMORY * 1)
    later = []
    for _ in range(4):
        reward.learn([B, C])
        later.append(float(reward.wear(fresh)[0]))
    assert (np.diff([first, *later]) < 0).all()


def test_alone_in_a_batch_a_text_is_worn_by_the_past_only() -> None:
    reward = VarietyReward([A, B])
    assert reward.wear([A])[0] == 0
    reward.learn([A])
    assert reward.wear([A])[0] == MEMORY
    assert reward.wear([]).shape == (0,)


def test_state_survives_a_file(tmp_path: Path) -> None:
    for batches in ([], [[A, B]], [[A, B], [C, C, A]]):
        ours, theirs = VarietyReward([A, B, C]), VarietyReward([A, B, C])
        for batch in batches:
            ours.learn(batch)
        np.savez(tmp_path / "state.npz", **ours.state())  # type: ignore[arg-type]
        with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
            theirs.load(state)
        for reward in (ours, theirs):
            reward.learn([B])
        np.testing.assert_array_equal(ours.wear([A, B, C]), theirs.wear([A, B, C]))
