"""Texts as actions, against a world of all texts of 4 tokens whose truth is a sum."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from experiments.ope.intervals import point
from experiments.ope.registry import ESTIMATORS
from experiments.ope.slates import Slates
from experiments.ope.text_actions import (
    claim_codes,
    claim_kernel,
    claim_probability,
    fit_claim_model,
    kernel_weights,
    sequence_probability,
    token_second_moment,
)
from tests.ope import plackett_luce_world as ranking

TOKENS, LENGTH = 3, 4
TEXTS = np.array(list(itertools.product(range(TOKENS), repeat=LENGTH)))
#: Token 0 says nothing; tokens 1 and 2 each claim a fact, however often they are said.
CLAIMS = (TEXTS[:, :, None] == np.array([1, 2])).any(axis=1).astype(float)
CODES = claim_codes(CLAIMS)
#: Two shoppers, each fond of another fact.
TASTE = np.array([[0.5, 0.1], [0.1, 0.4]])
MEAN = 0.2 + TASTE @ CLAIMS.T
LOGGING_TOKENS = np.array([[0.5, 0.3, 0.2]] * LENGTH)
TARGET_TOKENS = np.array([[0.25, 0.3, 0.45]] * LENGTH)


def text_probability(tokens: np.ndarray) -> np.ndarray:
    """Probability of all 81 texts, ``(81,)``."""
    logs = np.log(tokens)[np.arange(LENGTH), TEXTS]
    return sequence_probability(logs, np.ones(TEXTS.shape, dtype=bool))


LOGGING, TARGET = text_probability(LOGGING_TOKENS), text_probability(TARGET_TOKENS)
TRUTH = float((MEAN @ TARGET).mean())
WRONG = np.random.default_rng(0).random((2, len(CODES)))[:, CODES]


def log_at(shopper: np.ndarray, text: np.ndarray, reward: np.ndarray) -> pd.DataFrame:
    """A log of single items, the same under both policies, with the logged reasons' weights."""
    rows = len(text)
    logging, target = (np.broadcast_to(p, (rows, len(TEXTS))) for p in (LOGGING, TARGET))
    return pd.DataFrame(
        {
            "slate_id": np.arange(rows),
            "position": 0,
            "item_id": 0,
            "shopper": shopper,
            "text": text,
            "reward": reward,
            "pscore": 0.5,
            "eval_pscore": 0.5,
            "pscore_reason": LOGGING[text],
            "eval_pscore_reason": TARGET[text],
            "pscore_claims": claim_probability(logging, CODES, text),
            "eval_pscore_claims": claim_probability(target, CODES, text),
            "weight_kernel": kernel_weights(target, logging, claim_kernel(CLAIMS, 0.4), text),
        }
    )


def log_of_all() -> tuple[pd.DataFrame, np.ndarray]:
    shopper, text = np.divmod(np.arange(2 * len(TEXTS)), len(TEXTS))
    return log_at(shopper, text, MEAN[shopper, text]), 0.5 * LOGGING[text]


def sample_log(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    shopper = rng.integers(0, 2, size=rows)
    text = rng.choice(len(TEXTS), size=rows, p=LOGGING)
    return log_at(shopper, text, (rng.random(rows) < MEAN[shopper, text]).astype(float))


def with_model(frame: pd.DataFrame, q: np.ndarray) -> pd.DataFrame:
    return frame.assign(
        q_hat_claims=q[frame["shopper"], frame["text"]], v_hat_claims=(q @ TARGET)[frame["shopper"]]
    )


def contributions(name: str, frame: pd.DataFrame) -> np.ndarray:
    terms = ESTIMATORS[name].terms(Slates(frame))
    assert np.all(terms.denominator == 1)
    return terms.numerator.sum(axis=1)


@pytest.mark.parametrize("name", ["TextIPS", "ClaimIPS", "ClaimDR"])
def test_the_expectation_over_all_texts_is_the_truth(name: str) -> None:
    frame, probability = log_of_all()
    assert probability.sum() == pytest.approx(1.0)
    found = probability @ contributions(name, with_model(frame, WRONG))
    assert found == pytest.approx(TRUTH, abs=1e-12)


def test_each_step_from_texts_to_claims_to_a_model_lowers_the_variance() -> None:
    frame, probability = log_of_all()
    frame = with_model(frame, MEAN)

    def variance(name: str) -> float:
        found = contributions(name, frame)
        return float(probability @ found**2 - (probability @ found) ** 2)

    assert variance("ClaimDR") < variance("ClaimIPS") < variance("TextIPS")


def test_a_text_that_persuades_by_its_words_biases_claim_weights() -> None:
    """Saying a claimed fact first persuades too: claims no longer carry all of the effect."""
    frame, probability = log_of_all()
    worded = MEAN + 0.3 * (TEXTS[:, 0] == 2)
    frame["reward"] = worded[frame["shopper"], frame["text"]]
    known = float((worded @ TARGET).mean())
    assert probability @ contributions("TextIPS", frame) == pytest.approx(known, abs=1e-12)
    assert abs(probability @ contributions("ClaimIPS", frame) - known) > 0.01


def test_unbiased_over_seeds() -> None:
    """200 logs of 150 rows, DR's model fitted out of fold on each: inside 3 standard errors."""
    rng, found = np.random.default_rng(1), []
    names = ["TextIPS", "ClaimIPS", "ClaimDR"]
    for _ in range(200):
        frame = sample_log(150, rng)
        shopper, text = frame["shopper"].to_numpy(), frame["text"].to_numpy()
        model = fit_claim_model(
            np.eye(2)[shopper], CLAIMS, text, frame["reward"].to_numpy(),
            np.broadcast_to(TARGET, (150, len(TEXTS))), np.arange(150), rng=rng, learner="ridge",
        )  # fmt: skip
        slates = Slates(frame.assign(**model.columns()))
        found.append([point(ESTIMATORS[name].terms(slates)) for name in names])
    errors = np.array(found) - TRUTH
    spread = errors.std(axis=0, ddof=1)
    assert np.all(np.abs(errors.mean(axis=0)) <= 3 * spread / np.sqrt(200))
    assert spread[1] < spread[0]
    assert spread[2] < spread[0]


def test_claim_weights_are_the_mean_of_the_texts_weights() -> None:
    """``w(claims) = E_b[w(text) | claims]``, for each of the four claim vectors."""
    frame, _ = log_of_all()
    found = (frame["eval_pscore_claims"] / frame["pscore_claims"]).to_numpy()[: len(TEXTS)]
    for code in range(4):
        same = code == CODES
        known = (LOGGING[same] * (TARGET / LOGGING)[same]).sum() / LOGGING[same].sum()
        np.testing.assert_allclose(found[same], known)


def test_kernels_from_texts_to_claims() -> None:
    every = np.arange(len(TEXTS))
    logging, target = (np.broadcast_to(p, (len(TEXTS), len(TEXTS))) for p in (LOGGING, TARGET))
    texts = kernel_weights(target, logging, np.eye(len(TEXTS)), every)
    np.testing.assert_allclose(texts, TARGET / LOGGING)
    claims = kernel_weights(target, logging, claim_kernel(CLAIMS, 0.0), every)
    known = claim_probability(target, CODES, every) / claim_probability(logging, CODES, every)
    np.testing.assert_allclose(claims, known)
    # A kernel that reaches everywhere sees no difference between the policies.
    np.testing.assert_allclose(
        kernel_weights(target, logging, claim_kernel(CLAIMS, 1e6), every), 1.0
    )


def test_a_kernel_trades_bias_for_variance() -> None:
    frame, probability = log_of_all()
    kernel, claims = contributions("KernelIPS", frame), contributions("ClaimIPS", frame)
    assert abs(probability @ kernel - TRUTH) > abs(probability @ claims - TRUTH)
    spread = [float(probability @ x**2 - (probability @ x) ** 2) for x in (kernel, claims)]
    assert spread[0] < spread[1]


def test_padding_is_no_token() -> None:
    logs = np.log([[0.5, 0.25, 0.1], [0.5, 0.2, 0.3]])
    real = np.array([[True, True, False], [True, True, True]])
    np.testing.assert_allclose(sequence_probability(logs, real), [0.125, 0.03])


def test_the_weight_of_a_text_explodes_with_its_length() -> None:
    """E[w^2] is c^tokens, so the effective sample is n / c^tokens: of 20,000 texts of 30 tokens
    less than 1 % is left, the floor of a verdict; claim weights keep over half."""
    weight = TARGET / LOGGING
    known = token_second_moment(TARGET_TOKENS, LOGGING_TOKENS)
    assert known == pytest.approx(LOGGING @ weight**2, rel=1e-12)
    rng, rows, each = np.random.default_rng(2), 20_000, known ** (1 / LENGTH)
    shares = []
    for length in (2, 8, 30):
        drawn = rng.choice(TOKENS, size=(rows, length), p=LOGGING_TOKENS[0])
        w = (TARGET_TOKENS[0] / LOGGING_TOKENS[0])[drawn].prod(axis=1)
        shares.append(w.sum() ** 2 / np.square(w).sum() / rows)
    assert shares[0] == pytest.approx(each**-2, rel=0.1)
    assert shares[0] > shares[1] > shares[2]
    assert shares[2] < 0.01
    claims = claim_probability(np.broadcast_to(TARGET, (len(TEXTS), len(TEXTS))), CODES,
                               np.arange(len(TEXTS)))  # fmt: skip
    before = claim_probability(np.broadcast_to(LOGGING, (len(TEXTS), len(TEXTS))), CODES,
                               np.arange(len(TEXTS)))  # fmt: skip
    assert 1 / (LOGGING @ (claims / before) ** 2) > 0.5


def test_ranking_and_reasons_factor() -> None:
    """Two slots: the weight at a slot is that of the items and reasons down to it."""
    frame = ranking.log_of_all(np.random.default_rng(3).random(ranking.SLATES.shape))
    rng = np.random.default_rng(4)
    frame["pscore_reason"] = rng.uniform(0.2, 0.8, size=len(frame))
    frame["eval_pscore_reason"] = rng.uniform(0.2, 0.8, size=len(frame))
    frame["pscore_claims"] = frame["eval_pscore_claims"] = 0.5
    items = (frame["eval_pscore_cascade"] / frame["pscore_cascade"]).to_numpy().reshape(-1, 2)
    reasons = (frame["eval_pscore_reason"] / frame["pscore_reason"]).to_numpy().reshape(-1, 2)
    weight = np.stack([items[:, 0] * reasons[:, 0], items[:, 1] * reasons.prod(axis=1)], axis=1)
    reward = frame["reward"].to_numpy().reshape(-1, 2)
    slates = Slates(frame)
    known = (weight * reward).sum() / len(reward)
    assert point(ESTIMATORS["TextIPS"].terms(slates)) == pytest.approx(known, rel=1e-12)
    # Reasons that are alike leave the ranking's own estimator.
    same = point(ESTIMATORS["RIPS"].terms(slates))
    assert point(ESTIMATORS["ClaimIPS"].terms(slates)) == pytest.approx(same, rel=1e-12)


def test_a_zero_model_leaves_claim_weights() -> None:
    frame = with_model(sample_log(40, np.random.default_rng(5)), 0 * WRONG)
    slates = Slates(frame)
    assert point(ESTIMATORS["ClaimDR"].terms(slates)) == pytest.approx(
        point(ESTIMATORS["ClaimIPS"].terms(slates)), rel=1e-12
    )
