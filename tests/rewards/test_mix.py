"""The mix: parts, vetoes and the unit of the reward."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from envs.behaviour import ShopConfig
from envs.errors import UserError
from envs.world import World
from rewards.claims import ClaimChecker, claim_matrix
from rewards.clicks import ClickReward, ClickRewardConfig
from rewards.mix import RewardMix, Scored, uplift_spread
from rewards.mix_config import RewardConfig
from rewards.scored import LARGE
from rewards.style import style_penalty
from sft.tasks import item_briefs
from tests.shop_at_hand import bare_world, small_shop

SPREAD = 0.02


@pytest.fixture(scope="module")
def world() -> World:
    return bare_world()


@pytest.fixture(scope="module")
def checker() -> ClaimChecker:
    return ClaimChecker(small_shop().visitors.catalogue)


@pytest.fixture(scope="module")
def clicks(world: World) -> ClickReward:
    examination = np.full(len(world.quality), 0.5, dtype=np.float32)
    return ClickReward(world, ClickRewardConfig(), examination, np.random.default_rng(0))


def texts(count: int) -> list[str]:
    """One reason an item: honest, unfinished, a lie, empty, in turn."""
    facts = [brief.facts[0][1] for brief in item_briefs(small_shop().visitors.catalogue)]
    forms = ("Pick it for its {}.", "It has {}", "It has {} and magic.", "")
    return [forms[i % 4].format(facts[i]) for i in range(count)]


def scored(checker: ClaimChecker, clicks: ClickReward, config: RewardConfig) -> Scored:
    mix = RewardMix(checker, clicks, config, SPREAD)
    return mix.score(np.arange(20), np.arange(20) % 8, texts(20))


def test_total_is_the_sum_of_parts_or_the_veto(checker: ClaimChecker, clicks: ClickReward) -> None:
    config = RewardConfig(style=0.3, veto=2.5, variety=0)
    result = scored(checker, clicks, config)
    claims, lies, words = claim_matrix(result.checked, checker.n_aspects)
    uplift = clicks.score(np.arange(20), np.arange(20) % 8, claims, lies, words)
    np.testing.assert_allclose(result.parts["clicks"], uplift / SPREAD, rtol=1e-5)
    np.testing.assert_allclose(result.parts["style"], -0.3 * style_penalty(texts(20)), rtol=1e-5)
    wrong = np.arange(20) % 4 >= 2
    assert [v is not None for v in result.vetoes] == wrong.tolist()
    summed = result.parts["clicks"] + result.parts["style"]
    np.testing.assert_allclose(result.total[~wrong], summed[~wrong], rtol=1e-5)
    np.testing.assert_array_equal(result.total[wrong], np.float32(-2.5))
    # A vetoed reason is not shown, so it brings nothing.
    np.testing.assert_array_equal(result.uplift[wrong], 0)
    np.testing.assert_allclose(result.uplift[~wrong], uplift[~wrong])


def test_weights_turn_parts_off(checker: ClaimChecker, clicks: ClickReward) -> None:
    bare = scored(checker, clicks, RewardConfig(style=0, veto=0, variety=0))
    honest = np.array([v is None for v in bare.vetoes])
    np.testing.assert_allclose(bare.total, np.where(honest, bare.parts["clicks"], 0))


def test_nothing_to_score(checker: ClaimChecker, clicks: ClickReward) -> None:
    mix = RewardMix(checker, clicks, PLAIN, SPREAD)
    result = mix.score(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), [])
    assert result.total.shape == (0,)


def test_spread_is_the_standard_deviation_of_true_one_fact_reasons(
    world: World, clicks: ClickReward
) -> None:
    """Against every (item, segment, fact) weighed as the sampling weighs them.

    The standard deviation s of n draws has a standard error of s sqrt((kurtosis - 1) / (4 n)).
    """
    segments, aspects = world.segment_aspects.shape
    held = world.aspects > 0
    items, facts = np.nonzero(held)
    weight = (1 / held.sum(axis=1))[items]
    values, weights = [], []
    for segment in range(segments):
        ones = np.ones(len(items), dtype=np.float32)
        claims = np.eye(aspects, dtype=np.float32)[facts]
        values.append(
            clicks.score(items, np.full(len(items), segment), claims, 0 * ones, 10 * ones)
        )
        weights.append(weight)
    value, share = np.concatenate(values), np.concatenate(weights)
    share = share / share.sum()
    off = value - (share * value).sum()
    spread = np.sqrt((share * off**2).sum())
    kurtosis = (share * off**4).sum() / spread**4
    band = 3 * spread * np.sqrt((kurtosis - 1) / (4 * 2048))
    found = uplift_spread(clicks, world.aspects, segments, np.random.default_rng(1))
    assert abs(found - spread) < band


def test_spread_of_a_shop_without_facts_is_no_zero(world: World, clicks: ClickReward) -> None:
    nothing = np.zeros_like(world.aspects)
    assert uplift_spread(clicks, nothing, 8, np.random.default_rng(0)) > 0


# Wording: naturalness and variety.

#: Nothing that judges the wording.
PLAIN = RewardConfig(variety=0)
WORDED = RewardConfig(naturalness=0.3, variety=0.5, refit_every=2)
ITEMS, SEGMENTS = np.arange(60), np.arange(60) % 8


def sentences_of(*forms: str) -> list[str]:
    """One honest sentence an item, in the given forms in turn."""
    facts = [brief.facts[0][1] for brief in item_briefs(small_shop().visitors.catalogue)]
    return [forms[i % len(forms)].format(facts[i]) for i in ITEMS]


@pytest.fixture
def worded(checker: ClaimChecker, clicks: ClickReward) -> RewardMix:
    references = sentences_of("Pick it for its {}.", "It has {}.", "You get {} here.")
    pairs = list(zip(ITEMS.tolist(), references))
    return RewardMix(checker, clicks, WORDED, SPREAD, pairs, seed=5)


def test_wording_is_left_out_unless_asked_for(checker: ClaimChecker, clicks: ClickReward) -> None:
    assert set(scored(checker, clicks, PLAIN).parts) == {"clicks", "style"}


def test_total_sums_the_parts_of_wording_too(worded: RewardMix) -> None:
    said = sentences_of("Pick it for its {}.")
    for _ in range(2):
        worded.learn(ITEMS, SEGMENTS, said)
    result = worded.score(ITEMS, SEGMENTS, said)
    assert set(result.parts) == {"clicks", "style", "naturalness", "variety"}
    np.testing.assert_allclose(result.total, sum(result.parts.values()), rtol=1e-5)
    # All say the same, and have done so: as worn as can be, and told from the references.
    np.testing.assert_allclose(result.parts["variety"], -0.5)
    assert result.parts["naturalness"].max() < 0
    assert result.parts["naturalness"].min() >= -0.3


def test_one_sentence_for_all_earns_less_than_the_references_range(worded: RewardMix) -> None:
    """The same facts, so the same clicks: wording alone decides."""
    monotone = worded.score(ITEMS, SEGMENTS, sentences_of("It has {}."))
    varied = worded.score(
        ITEMS, SEGMENTS, sentences_of("It has {}.", "Pick it for its {}.", "You get {} here.")
    )
    np.testing.assert_array_equal(monotone.parts["clicks"], varied.parts["clicks"])
    assert (monotone.total < varied.total).all()


def test_a_constant_text_in_a_batch_earns_less_the_more_there_are(worded: RewardMix) -> None:
    varied = sentences_of("It has {}.", "Pick it for its {}.")
    first = varied[0]
    earned = []
    for copies in (1, 10, 40):
        batch = [first] * copies + varied[copies:]
        items = np.where(copies > ITEMS, 0, ITEMS)
        earned.append(worded.score(items, 0 * SEGMENTS, batch).total[0])
    assert earned[0] > earned[1] > earned[2]


def test_scoring_alone_teaches_nothing(worded: RewardMix) -> None:
    said = sentences_of("It has {}.")
    before = worded.score(ITEMS, SEGMENTS, said).total
    for _ in range(4):
        worded.score(ITEMS, SEGMENTS, sentences_of("You get {} here."))
    np.testing.assert_array_equal(before, worded.score(ITEMS, SEGMENTS, said).total)


def test_state_goes_through_a_file(worded: RewardMix, tmp_path: Path,
                                   checker: ClaimChecker, clicks: ClickReward) -> None:  # fmt: skip
    said = sentences_of("It has {}.", "It has {}.", "You get {} here.")
    for _ in range(3):
        worded.learn(ITEMS, SEGMENTS, said)
    np.savez(tmp_path / "reward.npz", **worded.state())  # type: ignore[arg-type]
    references = sentences_of("Pick it for its {}.", "It has {}.", "You get {} here.")
    pairs = list(zip(ITEMS.tolist(), references))
    again = RewardMix(checker, clicks, WORDED, SPREAD, pairs, seed=5)
    with np.load(tmp_path / "reward.npz", allow_pickle=False) as state:
        again.load(state)
    for mix in (worded, again):
        mix.learn(ITEMS, SEGMENTS, said)
    ours, theirs = (mix.score(ITEMS, SEGMENTS, said) for mix in (worded, again))
    np.testing.assert_array_equal(ours.total, theirs.total)


def test_a_mix_that_learns_nothing_has_no_state(checker: ClaimChecker, clicks: ClickReward) -> None:
    assert RewardMix(checker, clicks, PLAIN, SPREAD).state() == {}


def test_naturalness_without_references_is_a_clear_error(
    checker: ClaimChecker, clicks: ClickReward
) -> None:
    with pytest.raises(UserError, match=r"reward.naturalness needs at least 8 reference texts"):
        RewardMix(checker, clicks, RewardConfig(naturalness=0.1), SPREAD)


# A claim stated twice.


def test_a_repeated_claim_costs_what_a_lie_costs(
    checker: ClaimChecker, clicks: ClickReward
) -> None:
    mix = RewardMix(checker, clicks, PLAIN, SPREAD)
    for form in ("It has {0} and {0}.", "It has {0}, magic."):
        told = mix.score(ITEMS, SEGMENTS, sentences_of(form))
        np.testing.assert_array_equal(told.total, -2)
        assert (told.uplift == 0).all()


# What no reward may be.


def test_means_name_every_part(checker: ClaimChecker, clicks: ClickReward) -> None:
    result = scored(checker, clicks, PLAIN)
    means = result.means
    assert set(means) == {"clicks", "style", "total", "uplift", "veto_rate"}
    assert means["veto_rate"] == 0.5
    assert means["total"] == pytest.approx(result.total.mean())


def test_a_part_that_is_no_number_is_named(checker: ClaimChecker, world: World) -> None:
    margin = world.margin.copy()
    margin[3] = np.nan
    broken = ClickReward(
        replace(world, margin=margin), ClickRewardConfig(),
        np.full(len(margin), 0.5, dtype=np.float32), np.random.default_rng(0),
    )  # fmt: skip
    mix = RewardMix(checker, broken, PLAIN, SPREAD)
    with pytest.raises(UserError, match="reward part 'clicks' is nan for reason 3 of 20"):
        mix.score(np.arange(20), np.arange(20) % 8, texts(20))


def _large(form: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rows = np.arange(LARGE) % len(ITEMS)
    said = sentences_of(form)
    return ITEMS[rows], SEGMENTS[rows], [said[row] for row in rows]


def test_a_batch_of_vetoes_is_a_clear_error(checker: ClaimChecker, clicks: ClickReward) -> None:
    mix = RewardMix(checker, clicks, PLAIN, SPREAD)
    batch = _large("Magic {}.")
    with pytest.raises(UserError, match=rf"all {LARGE} .* vetoed \({LARGE} times 'unsupported cl"):
        mix.learn(*batch)
    # A measurement may well find that all is vetoed, and so may a small batch.
    assert mix.score(*batch).means["veto_rate"] == 1
    items, segments, said = batch
    mix.learn(items[:20], segments[:20], said[:20])


def test_a_batch_worth_the_same_throughout_is_a_clear_error(
    checker: ClaimChecker, world: World
) -> None:
    """In a shop where reasons persuade nobody and trust is worth nothing."""
    deaf = world.with_config(ShopConfig(w_reason=0))
    examined = np.full(len(world.quality), 0.5, dtype=np.float32)
    clicks = ClickReward(deaf, ClickRewardConfig(trust_value=0), examined, np.random.default_rng(0))
    mix = RewardMix(checker, clicks, PLAIN, SPREAD)
    with pytest.raises(UserError, match=rf"part 'clicks' is 0 for all {LARGE} reasons .*w_reason"):
        mix.learn(*_large("It has {}."))
