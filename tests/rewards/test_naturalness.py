"""The discriminator tells wordings apart, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.errors import UserError
from rewards.naturalness import FEWEST, LIMIT, NaturalnessReward, fit
from sft.templates import TEMPLATES

#: Carrier sentences of the corpus as forms, facts masked.
SHAPES = [
    "¶ " + sentence.format("¤", "¤", "¤").lower().replace(",", "").replace(".", "") + " ¶"
    for count in (1, 2, 3)
    for sentence in TEMPLATES[count]
]
WORDS = sorted({word for shape in SHAPES for word in shape.split() if word not in "¶¤"})


def drawn(count: int, seed: int, shapes: list[str] = SHAPES) -> list[str]:
    return [shapes[i] for i in np.random.default_rng(seed).integers(len(shapes), size=count)]


def scrambled(count: int, seed: int) -> list[str]:
    """The references' own words in no order."""
    rng = np.random.default_rng(seed)
    return ["¶ " + " ".join(rng.permutation(WORDS)[:7]) + " ¤ ¶" for _ in range(count)]


def test_unseen_references_are_told_from_scrambled_words() -> None:
    """Trained on half of the carrier sentences, judged on texts that it has not seen."""
    judge = fit(drawn(300, 0), scrambled(300, 1), np.random.default_rng(2))
    natural, salad = judge.score(drawn(200, 3)), judge.score(scrambled(200, 4))
    assert natural.shape == (200,)
    assert natural.dtype == np.float32
    # Ranking quality (area under the curve) far beyond chance, whose 3 sigma here is 0.58.
    assert (natural[:, None] > salad[None]).mean() > 0.95
    assert np.abs(np.concatenate([natural, salad])).max() <= LIMIT


def test_a_policy_that_writes_like_the_references_is_not_told_apart() -> None:
    """With both sides from one distribution the mean log-odds is near 0 on fresh texts.

    The band is 3 standard errors of what the fit's own noise does to the mean over `SHAPES`: each
    side has each of 22 sentences about n / 22 times, so its log-odds err by sqrt(2 * 22 / n).
    """
    count = 2_000
    judge = fit(drawn(count, 0), drawn(count, 1), np.random.default_rng(2))
    band = 3 * np.sqrt(2 * len(SHAPES) / count)
    assert np.abs(judge.score(SHAPES)).max() < band


def test_an_overused_sentence_loses() -> None:
    favourite = SHAPES[4]
    policy = drawn(100, 1) + [favourite] * 300
    judge = fit(drawn(400, 0), policy, np.random.default_rng(2))
    scores = dict(zip(SHAPES, judge.score(SHAPES)))
    assert scores[favourite] == min(scores.values())
    assert scores[favourite] < -0.5 < 0 < np.mean([s for k, s in scores.items() if k != favourite])


def test_unbalanced_sides_weigh_the_same() -> None:
    """Ten times as many policy texts of the same kind do not turn the verdict against them."""
    judge = fit(drawn(100, 0), drawn(1_000, 1), np.random.default_rng(2))
    band = 3 * np.sqrt(len(SHAPES) / 100 + len(SHAPES) / 1_000)
    assert abs(float(judge.score(SHAPES).mean())) < band


def test_it_has_no_opinion_before_the_first_fit_and_refits_on_time() -> None:
    reward = NaturalnessReward(drawn(100, 0), refit_every=3, seed=1)
    found = []
    for batch in range(7):
        found.append(reward.score(SHAPES).tolist())
        reward.learn([*drawn(40, batch), *[SHAPES[batch]] * 10])
    assert found[0] == found[1] == found[2] == [0.0] * len(SHAPES)
    assert found[3] != found[0]
    assert found[3] == found[4] == found[5] != found[6]


def test_it_follows_the_policy() -> None:
    """A wording that the policy gave up is forgiven once its batches are forgotten."""
    reward = NaturalnessReward(drawn(200, 0), refit_every=1, seed=1)
    for _ in range(6):
        reward.learn([SHAPES[0]] * 60)
    worn = reward.score([SHAPES[0]])[0]
    for _ in range(6):
        reward.learn([SHAPES[7]] * 60)
    assert worn < reward.score([SHAPES[0]])[0]
    assert reward.score([SHAPES[7]])[0] < 0


def test_state_survives_a_file_and_goes_on_alike(tmp_path: Path) -> None:
    ours = NaturalnessReward(drawn(100, 0), refit_every=2, seed=1)
    for batch in range(3):
        ours.learn(scrambled(20 + batch, batch))
    np.savez(tmp_path / "state.npz", **ours.state())  # type: ignore[arg-type]
    theirs = NaturalnessReward(drawn(100, 0), refit_every=2, seed=1)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        theirs.load(state)
    np.testing.assert_array_equal(ours.score(SHAPES), theirs.score(SHAPES))
    for reward in (ours, theirs):
        reward.learn(drawn(30, 9))
    assert np.abs(ours.score(SHAPES)).max() > 0
    np.testing.assert_array_equal(ours.score(SHAPES), theirs.score(SHAPES))


def test_nothing_written_and_nothing_scored() -> None:
    reward = NaturalnessReward(drawn(20, 0), refit_every=1, seed=1)
    reward.learn([])
    assert reward.score([]).shape == (0,)
    assert (reward.score(SHAPES) == 0).all()


def test_too_few_references_are_a_clear_error() -> None:
    with pytest.raises(UserError, match=rf"at least {FEWEST} reference texts .* there are 3"):
        NaturalnessReward(drawn(3, 0), 1, 1)
