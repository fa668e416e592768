"""The error study: its counts by hand, its worlds against theory, and texts in the shop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from envs.feedback import check_feedback
from experiments.ope.error_worlds import Drawn, SessionErrors, Theory, error_worlds
from experiments.ope.errors import BAND, Errors, study_errors
from experiments.ope.text_shop import TextLog, Writer, log_texts, with_claims
from tests.shop_at_hand import bare_world

LOGS, SESSIONS = 30, 100


@dataclass(frozen=True)
class Constant:
    """Logs on which every estimate is 0.5, and truths that lie 0.1 and 0.3 below it."""

    name: str = "constant"
    theory: Mapping[str, Theory] = None  # type: ignore[assignment]  # a default that is no dict

    def __post_init__(self) -> None:
        object.__setattr__(self, "theory", {"SNIPS": "consistent"})

    def logs(self, count: int, seed: int) -> Iterator[Drawn]:
        frame = pd.DataFrame(
            {
                "slate_id": range(100), "position": 0, "item_id": 0, "reward": 0.5,
                "pscore": 0.5, "eval_pscore": 0.5,
            }
        )  # fmt: skip
        return iter([(frame, 0.4, 0.03), (frame, 0.2, 0.03)])


def test_errors_by_hand() -> None:
    (found,) = study_errors(Constant(), 2, resamples=20)
    assert found.truth == pytest.approx(0.3)
    assert found.bias == pytest.approx(0.2)
    assert found.rmse == pytest.approx(np.sqrt((0.1**2 + 0.3**2) / 2))
    # The errors differ by 0.2: deviation 0.1 sqrt 2, over sqrt 2 logs; and the truth's own 0.03.
    assert found.bias_se == pytest.approx(np.hypot(0.1, 0.03))
    assert found.in_band
    assert (found.covered, found.conclusive, found.ess, found.logs) == (0.0, 1.0, 1.0, 2)
    row = found.as_row()
    assert row["value"] == pytest.approx(100 * 0.2 / 0.3)
    assert row["max"] - row["value"] == pytest.approx(100 * 3 * np.hypot(0.1, 0.03) / 0.3)


@cache
def studied() -> dict[tuple[str, str], Errors]:
    found = {}
    for world in error_worlds(bare_world()):
        small = replace(world, sessions=SESSIONS)  # type: ignore[type-var]  # all are dataclasses
        if isinstance(small, SessionErrors):
            small = replace(small, played=4_000)
        for one in study_errors(small, LOGS, resamples=50):
            found[one.world, one.estimator] = one
    return found


def test_unbiased_families_lie_in_their_bands() -> None:
    """Slates, single items, sessions and claims: the mean error within 3 standard errors of 0."""
    families = {key: one for key, one in studied().items() if one.theory == "unbiased"}
    assert {"SIPS", "IIPS", "RIPS", "DR", "CascadeDR", "IPS", "TIS", "PDIS", "SDR", "ClaimIPS",
            "ClaimDR"} <= {estimator for _, estimator in families}  # fmt: skip
    outside = {key: (one.bias, one.bias_se) for key, one in families.items() if not one.in_band}
    assert not outside


def test_what_theory_calls_biased_is() -> None:
    """What stands above matters in a cascade, and IIPS does not look; a kernel blurs claims."""
    for key in (("slates, cascade clicks", "IIPS"), ("reasons of 30 tokens", "KernelIPS")):
        one = studied()[key]
        assert one.bias < -BAND * one.bias_se, key


def test_whole_texts_explode_where_claims_work() -> None:
    texts = {name: one for (world, name), one in studied().items() if world.startswith("reasons")}
    whole, claims = texts["TextIPS"], texts["ClaimIPS"]
    assert whole.conclusive == 0.0
    assert whole.ess < 0.05 < 0.3 < claims.ess
    assert claims.conclusive > 0.9
    assert texts["ClaimDR"].rmse < whole.rmse / 3
    # Hardly any log holds the large weights, so intervals promise 95 % and do not keep it.
    assert whole.covered < 0.95 - 3 * np.sqrt(0.05 * 0.95 / LOGS)


# Texts in the shop


WRITER = Writer(np.array([0.6, 0.4]), np.array([0.7, 0.3]), 3)
OTHER = Writer(np.array([0.3, 0.7]), np.array([0.5, 0.5]), 3)


@cache
def texts(own: bool) -> TextLog:
    """A log of `WRITER` with itself or `OTHER` as the target."""
    target = WRITER if own else OTHER
    return log_texts(with_claims(bare_world(), 2), WRITER, target, 1_500, 3)


def test_a_writers_probabilities_sum_to_one() -> None:
    wording = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    total = sum(WRITER.probability(np.full(len(wording), claim), wording).sum() for claim in (0, 1))
    assert total == pytest.approx(1.0)


def test_logged_rewards_agree_with_the_truth_of_the_logging_writer() -> None:
    log = texts(own=True)
    check_feedback(log.frame, "texts", targets=True)
    earned = log.frame.groupby("slate_id")["reward"].sum().to_numpy()
    gap = earned - log.truth
    assert abs(gap.mean()) < 3 * gap.std() / np.sqrt(len(gap))
    for name in ("pscore_reason", "pscore_claims", "pscore_cascade"):
        np.testing.assert_array_equal(log.frame[name], log.frame[f"eval_{name}"])


def test_weights_of_claims_and_texts_expect_one() -> None:
    frame = texts(own=False).frame
    for name in ("reason", "claims"):
        weight = (frame[f"eval_pscore_{name}"] / frame[f"pscore_{name}"]).to_numpy()
        assert abs(weight.mean() - 1) < 3 * weight.std() / np.sqrt(len(weight))
    claimed = texts(own=False).claims
    known = np.array([0.3 / 0.6, 0.7 / 0.4])[claimed]
    np.testing.assert_allclose(frame["eval_pscore_claims"] / frame["pscore_claims"], known)
