"""The KL from the SFT policy: unbiased estimates, and a price that follows its target."""

import math

import pytest
import torch

from policies.reasoner.kl import adapted, kl_k1, kl_k3


def test_kl_estimators_average_to_the_divergence() -> None:
    # Enumerated over the whole of a small vocabulary, so the expectation is exact.
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.25, 0.25])
    exact = sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True))
    for estimator in (kl_k1, kl_k3):
        assert float((p * estimator(p.log(), q.log())).sum()) == pytest.approx(exact, abs=1e-6)
    assert bool((kl_k3(p.log(), q.log()) >= 0).all())


def test_the_price_by_hand() -> None:
    # 10 % too much: one tenth of it on the price.
    assert adapted(0.5, kl=6.6, target=6.0) == pytest.approx(0.5 * 1.01)
    # Errors beyond a fifth count as a fifth, on both sides.
    assert adapted(0.5, kl=60.0, target=6.0) == pytest.approx(0.5 * 1.02)
    assert adapted(0.5, kl=-3.0, target=6.0) == pytest.approx(0.5 * 0.98)


def test_the_price_rests_at_the_target_and_without_one() -> None:
    assert adapted(0.3, kl=4.0, target=4.0) == 0.3
    assert adapted(0.3, kl=99.0, target=None) == 0.3


def test_the_price_finds_what_holds_the_target() -> None:
    # A policy that moves away by 3 / price nats is held at 2 by a price of 1.5.
    price = 0.2
    for _ in range(300):
        price = adapted(price, kl=3 / price, target=2.0)
    assert price == pytest.approx(1.5, rel=1e-3)
