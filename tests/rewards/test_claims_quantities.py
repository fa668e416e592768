"""Quantities and atoms: what is the same amount, however it is written."""

from __future__ import annotations

import pytest

from rewards.atoms import atoms
from rewards.inflection import stem
from rewards.quantities import UNITS, Quantity, holds, quantity, read_chinese, read_number, same
from rewards.words import tokens


def only(text: str) -> Quantity:
    """The one quantity of a text."""
    found = atoms(tokens(text)).quantities
    assert len(found) == 1, text
    return found[next(iter(found))]


#: Conversions worked by hand or defined by treaty (1 inch = 2.54 cm, 1 lb = 0.45359237 kg).
EQUAL = [
    ("90 g", "0.09 kg"),
    ("1 m", "100 cm"),
    ("1.5 h", "90 minutes"),
    ("5 inches", "12.7 cm"),
    ("1 TB", "1000 GB"),
    ("2.2 kW", "2,200 watts"),
    ("1.7 litres", "1700ml"),
    ("two years", "24 months"),
    ("a week", "7 days"),
    ("seven days", "168-hour"),
    ("1 lb", "454 g"),
    ("60 percent", "60%"),
    ("60 per cent", "60 %"),
    ("40 m²", "40 square metres"),
    ('15.6"', "15.6-inch"),
    ("12 months", "1 year"),
    ("twenty-four hours", "1 day"),
    ("30小时", "1800分钟"),
    ("一年半载的一年", "12个月"),
    ("半斤", "250克"),
    ("2千克", "4斤"),
    ("两年", "24个月"),
    ("百分之六十", "60%"),
    ("四十升", "40 l"),
    ("30个小时", "30 h"),
    ("1公斤", "1kg"),
]
DIFFERENT = [
    ("90 g", "0.9 kg"),
    ("90 g", "91 g"),
    ("1 m", "10 cm"),
    ("1.5 h", "150 minutes"),
    ("5 inches", "5 cm"),
    ("15.6 inches", "41 cm"),
    ("1,000 g", "1.000 g"),
    ("24 months", "24 days"),
    ("50 m", "50 min"),
    ("1 lb", "0.5 kg"),
    ("250克", "250千克"),
    ("一年", "一天"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_same_amount(one: str, other: str) -> None:
    pair = [max(atoms(tokens(t)).quantities.values(), key=lambda q: q.amount) for t in (one, other)]
    assert same(pair[1], pair[0])


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_amount(one: str, other: str) -> None:
    assert not same(only(one), only(other))
    assert not same(only(other), only(one))


def test_within_a_system_nothing_is_rounded() -> None:
    assert not same(quantity(25_001, "h", "25001"), quantity(25_000, "h"))
    assert same(quantity(39.6, "cm", "39.6"), quantity(15.6, "inch"))
    # 39.62 claims a precision that it does not have: 15.6 inch is 39.624 cm.
    assert same(quantity(39.62, "cm", "39.62"), quantity(15.6, "inch"))
    assert not same(quantity(39.70, "cm", "39.70"), quantity(15.6, "inch"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,000", 1000),
        ("1000", 1000),
        ("1.5", 1.5),
        ("1.000", 1),
        ("12,345,678.9", 12_345_678.9),
        ("1,5", None),
        ("1,00", None),
        ("1.2.3", None),
        ("1000,000", None),
    ],
)
def test_numbers(text: str, value: float | None) -> None:
    assert read_number(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("三", 3),
        ("十", 10),
        ("十二", 12),
        ("四十", 40),
        ("二百五十", 250),
        ("一千零八", 1008),
        ("三万", 30_000),
        ("两", 2),
        ("半", 0.5),
        ("好", None),
        ("", None),
    ],
)
def test_chinese_numbers(text: str, value: float | None) -> None:
    assert read_chinese(text) == value


@pytest.mark.parametrize(
    ("relation", "amount", "true"),
    [
        ("lt", 300, True),
        ("lt", 250, False),
        ("le", 250, True),
        ("gt", 200, True),
        ("gt", 250, False),
        ("ge", 250, True),
        ("ge", 251, False),
        ("near", 260, True),
        ("near", 300, False),
        ("eq", 250, True),
    ],
)
def test_bounds(relation: str, amount: float, true: bool) -> None:
    assert holds(relation, quantity(amount, "g"), quantity(0.25, "kg")) is true


def test_a_bound_of_another_dimension_holds_nothing() -> None:
    assert not holds("lt", quantity(300, "h"), quantity(250, "g"))


def test_every_unit_has_a_positive_factor() -> None:
    assert all(factor > 0 for _, _, factor in UNITS.values())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("batteries", "battery"),
        ("lasting", "lasts"),
        ("dims", "dimming"),
        ("drying", "dries"),
        ("padded", "pads"),
        ("cancellation", "cancelling"),
        ("insulated", "insulation"),
        ("taped", "tape"),
        ("automatically", "automatic"),
        ("easily", "easy"),
        ("boxes", "box"),
        ("charging", "charge"),
    ],
)
def test_forms_of_one_word_meet(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("light", "lighter"),
        ("light", "lightest"),
        ("sound", "soundless"),
        ("glass", "glas"),
        ("wash", "washable"),
        ("sealed", "unsealed"),
        ("king", "k"),
        ("bus", "bu"),
    ],
)
def test_words_that_claim_different_things_stay_apart(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_phrases_with_the_same_atoms() -> None:
    keys = [
        atoms(tokens(text)).keys
        for text in (
            "30-hour battery",
            "30 hour batteries",
            "thirty-hour battery",
            "1,800-minute battery",
        )
    ]
    assert keys[0] == keys[1] == keys[2] == keys[3]


@pytest.mark.parametrize(
    "text",
    [
        "30",
        "30-",
        "a",
        "a g",
        "1/2",
        "%",
        "个",
        "3个",
        "百分之",
        "百分之三",
        "三十",
        "1-2-3 h",
        "90g-b",
        "-",
    ],
)
def test_atoms_cover_the_tokens_in_order(text: str) -> None:
    words = tokens(text)
    form = atoms(words)
    assert len(form.keys) == len(form.first) == len(form.last)
    covered = [t for a, b in zip(form.first, form.last, strict=True) for t in range(a, b)]
    assert sorted(set(covered)) == list(range(len(words)))
    assert covered == sorted(covered)
