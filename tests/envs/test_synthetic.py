"""The made-up shop: complete, seeded, and one in which facts, texts and numbers agree."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from envs.assemble import synthetic_visitors
from envs.catalogue import Catalogue, check_catalogue, load_catalogue, save_catalogue
from envs.margins import default_margin
from envs.shoppers import ShopperConfig
from envs.statistics import PUBLISHED
from envs.synthetic import SyntheticConfig, synthetic_catalogue, with_reviews
from envs.synthetic_words import Locale, load_words
from envs.text_encoder import fit_text_encoder

#: Attributes whose number is better the smaller it is; of every other, more is better.
LESS_IS_BETTER = {
    "en": {
        "weight_grams",
        "weight_kilos",
        "noise_level",
        "charging_time",
        "boiling_time",
        "brewing_time",
        "setup_time",
        "power_draw",
        "width",
        "packed_length",
    },
    "zh": {
        "机身重量",
        "单鞋重量",
        "净重",
        "工作噪音",
        "充电时间",
        "烧开时间",
        "煮饭时间",
        "搭建时间",
        "功耗",
        "机身宽度",
        "收纳长度",
        "键盘配列",
    },
}
LOCALES: tuple[Locale, ...] = ("en", "zh")
#: How reviews praise and criticise a phrase.
SAYS = {
    "en": (
        r"(?:I love|Really glad about|Full marks for) the (.+?)\.(?: |$)",
        r"(?:impressed by|let down by) the (.+?)\.(?: |$)",
    ),
    "zh": (
        r"(?:最满意的是|特别喜欢)(.+?)。",
        r"(?:就是)(?!冲着)(.+?)有点拖后腿。",
    ),
}


@pytest.fixture(scope="module", params=LOCALES)
def shop(request: pytest.FixtureRequest) -> Catalogue:
    return synthetic_catalogue(SyntheticConfig(locale=request.param), np.random.default_rng(7))


@pytest.fixture(scope="module")
def reviewed(shop: Catalogue) -> Catalogue:
    """The shop with 20 views and 5 purchases an item, by 200 shoppers."""
    rng = np.random.default_rng(8)
    n = 25 * shop.n_items
    history = pd.DataFrame(
        {
            "shopper_id": [f"S{i}" for i in rng.integers(200, size=n)],
            "item_id": np.repeat(shop.items["item_id"].to_numpy(), 25),
            "event": np.tile(["view"] * 20 + ["purchase"] * 5, shop.n_items),
            "timestamp": rng.uniform(0, 1e6, n),
        }
    )
    return with_reviews(replace(shop, history=history), rng)


def exploded(shop: Catalogue) -> pd.DataFrame:
    """One row a phrase of each distinct fact value."""
    return shop.facts.explode("phrases").drop_duplicates(["aspect", "key", "value", "phrases"])


def states(text: str, phrase: str, locale: str) -> bool:
    """Whether a text holds a phrase whole: 5公斤承重 is not in 115公斤承重."""
    edge = r"\b" if locale == "en" else ""
    number = r"(?<![\d.])" if phrase[0].isdigit() else ""
    return phrase in text and bool(re.search(f"{edge}{number}{re.escape(phrase)}{edge}", text))


def test_shop_has_the_promised_size(shop: Catalogue) -> None:
    assert check_catalogue(shop, "shop") is shop
    counts = shop.summary()
    assert (counts["items"], counts["classes"], counts["aspects"]) == (1000, 12, 24)
    assert set(shop.facts["aspect"]) == set(shop.aspects)
    assert 300 <= exploded(shop)["phrases"].nunique() <= 650
    assert 70 <= len(shop.queries) <= 100
    assert shop.queries["query"].is_unique


def test_classes_use_eight_to_ten_aspects_and_share_them(shop: Catalogue) -> None:
    used = shop.facts.merge(shop.items[["item_id", "class"]], on="item_id")
    assert used.groupby("class")["aspect"].nunique().between(8, 10).all()
    assert used.groupby("aspect")["class"].nunique().min() >= 2


@pytest.mark.parametrize("locale", LOCALES)
def test_same_seed_makes_the_same_tables_and_another_seed_another_shop(locale: Locale) -> None:
    def make(seed: int) -> Catalogue:
        config = SyntheticConfig(items=60, locale=locale)
        return synthetic_catalogue(config, np.random.default_rng(seed))

    first, second, other = make(1), make(1), make(2)
    for table in ("items", "facts", "features", "queries"):
        pd.testing.assert_frame_equal(getattr(first, table), getattr(second, table))
    assert not first.items.equals(other.items)


@pytest.mark.parametrize("locale", LOCALES)
def test_smallest_shop_has_every_class(locale: Locale) -> None:
    shop = synthetic_catalogue(SyntheticConfig(items=12, locale=locale), np.random.default_rng(0))
    assert len(shop.classes) == 12


@pytest.mark.parametrize("locale", LOCALES)
def test_titles_are_unique_even_in_a_crowded_shop(locale: Locale) -> None:
    config = SyntheticConfig(items=30_000, locale=locale)
    shop = synthetic_catalogue(config, np.random.default_rng(0))
    assert shop.items["title"].is_unique


def test_items_state_four_to_seven_facts_each_at_its_own_aspect(shop: Catalogue) -> None:
    facts = shop.facts.groupby("item_id")["aspect"]
    assert set(facts.size()) == {4, 5, 6, 7}
    assert (facts.size() == facts.nunique()).all()
    assert set(shop.facts["item_id"]) == set(shop.items["item_id"])


def test_a_phrase_means_one_fact_only(shop: Catalogue) -> None:
    meanings = exploded(shop).groupby(exploded(shop)["phrases"].str.lower()).size()
    assert meanings[meanings > 1].empty


def test_no_phrase_hides_in_a_phrase_of_another_fact(shop: Catalogue) -> None:
    """Else a text that claims "10.5 kg weight" would also be read as claiming "5 kg weight"."""
    rows = exploded(shop)
    meaning = dict(zip(rows["phrases"], zip(rows["key"], rows["value"], strict=True), strict=True))
    hidden = [
        (inner, outer)
        for inner in meaning
        for outer in meaning
        if meaning[inner] != meaning[outer] and states(outer, inner, shop.locale)
    ]
    assert hidden == []


def test_phrases_are_short_noun_phrases_without_article(shop: Catalogue) -> None:
    assert shop.facts["phrases"].map(len).between(2, 3).all()
    if shop.locale == "zh":  # no article, no space, no measure word to choose before it
        assert exploded(shop)["phrases"].str.fullmatch(r"[^\s，。、]{3,12}").all()
        return
    for phrase in exploded(shop)["phrases"]:
        words = phrase.split()
        assert 2 <= len(words) <= 4, phrase
        assert words[0].lower() not in {"a", "an", "the", "its", "with", "has"}, phrase


def test_strength_follows_the_number_within_a_class(shop: Catalogue) -> None:
    facts = shop.facts.merge(shop.items[["item_id", "class"]], on="item_id")
    words = {"two": "2", "three": "3", "four": "4", "six": "6"}
    number = facts["value"].replace(words, regex=True).str.replace(",", "")
    facts["number"] = number.str.extract(r"^([\d.]+)")[0].astype(float)
    numeric = facts[facts["number"].notna()]
    assert set(numeric["key"]) > LESS_IS_BETTER[shop.locale]
    for (_, key), group in numeric.groupby(["class", "key"]):
        sign = -1 if key in LESS_IS_BETTER[shop.locale] else 1
        ladder = group.groupby(sign * group["number"])["strength"]
        assert (ladder.nunique() == 1).all(), key
        assert ladder.first().is_monotonic_increasing, key
        assert ladder.first().is_unique, key


def test_every_aspect_of_a_class_has_strong_and_weak_items(shop: Catalogue) -> None:
    facts = shop.facts.merge(shop.items[["item_id", "class"]], on="item_id")
    spread = facts.groupby(["class", "aspect"])["strength"]
    assert (spread.max() == 1).all()
    assert (spread.min() < 0.5).all()


def test_quality_goes_with_price_brand_and_facts(shop: Catalogue) -> None:
    items = shop.items.set_index("item_id")
    price = items["price"] / items.groupby("class")["price"].transform("median")
    # Without any relation the correlation of n pairs stays below 3 / sqrt(n) (three sigma).
    chance = 3 / np.sqrt(len(items))
    mean_strength = shop.facts.groupby("item_id")["strength"].mean()
    assert items["quality"].corr(price) > chance
    assert items["quality"].corr(mean_strength) > chance
    within = items.groupby("brand")["quality"].std().mean()
    assert within < 0.8 * items["quality"].std()


def test_margins_are_thin_on_dear_goods() -> None:
    # By hand: 45 % up to a price of 10; 45 % / sqrt(4) at 40; 45 % / sqrt(100) at 1,000.
    np.testing.assert_allclose(default_margin([1, 10, 40, 1000]), [0.45, 4.5, 9.0, 45.0])
    prices = np.linspace(0.01, 5000, 500)
    margins = default_margin(prices)
    assert (margins <= prices).all()
    assert (np.diff(margins) > 0).all()
    assert (np.diff(margins / prices) <= 1e-12).all()


def test_features_hold_every_fact_and_more(shop: Catalogue) -> None:
    def triples(frame: pd.DataFrame) -> set[tuple[str, ...]]:
        return set(frame[["item_id", "key", "value"]].itertuples(index=False, name=None))

    assert triples(shop.facts) < triples(shop.features)
    keys = set(shop.features["key"])
    assert (
        keys
        >= {
            "en": {"colour", "brand_origin", "model_year", "type", "season"},
            "zh": {"颜色", "产地", "上市年份", "款式", "适用季节"},
        }[shop.locale]
    )


def test_descriptions_state_a_fact_of_their_item(shop: Catalogue) -> None:
    phrases = {i: set(g.explode()) for i, g in shop.facts.groupby("item_id")["phrases"]}
    for item, text in zip(shop.items["item_id"], shop.items["description"], strict=True):
        assert any(phrase in text for phrase in phrases[item]), text
        assert "{" not in text


def test_round_trip_through_files(reviewed: Catalogue, tmp_path: Path) -> None:
    save_catalogue(reviewed, tmp_path / "shop")
    loaded = load_catalogue(tmp_path / "shop")
    for table in ("items", "facts", "features", "reviews", "history", "queries"):
        pd.testing.assert_frame_equal(getattr(loaded, table), getattr(reviewed, table))
    assert (loaded.aspects, loaded.notes) == (reviewed.aspects, reviewed.notes)


def test_reviews_come_from_shoppers_who_met_the_item(reviewed: Catalogue) -> None:
    check_catalogue(reviewed, "shop")
    per_item = reviewed.reviews.groupby("item_id").size().reindex(reviewed.items["item_id"])
    assert per_item.between(1, 3).all()
    # A uniform draw from 1..3 has variance 2/3.
    assert per_item.mean() == pytest.approx(2, abs=3 * np.sqrt(2 / 3 / len(per_item)))
    bought = reviewed.history[reviewed.history["event"] == "purchase"]
    buyers = set(zip(bought["shopper_id"], bought["item_id"], strict=True))
    # Five purchases by 200 shoppers have three distinct buyers, but for 2 items in a million: so
    # views need not step in.
    wrote = list(zip(reviewed.reviews["shopper_id"], reviewed.reviews["item_id"], strict=True))
    assert len(set(wrote)) == len(wrote)
    assert set(wrote) <= buyers


def test_descriptions_praise_only_items_that_earn_it(shop: Catalogue) -> None:
    second = shop.facts.groupby("item_id")["strength"].nlargest(2).groupby("item_id").min()
    strength = second.reindex(shop.items["item_id"]).to_numpy()
    praises = r"known for|stands out|people buy|valued for" if shop.locale == "en" else "主打|亮点"
    praised = shop.items["description"].str.contains(praises).to_numpy()
    assert 0.2 < praised.mean() < 1
    assert (strength[praised] >= 0.6).all()


def test_chinese_titles_sell_with_facts_that_hold() -> None:
    config = SyntheticConfig(items=600, locale="zh")
    shop = synthetic_catalogue(config, np.random.default_rng(2))
    facts = {
        item: dict(zip(group["phrases"].str[0], group["strength"], strict=True))
        for item, group in shop.facts.groupby("item_id")
    }
    phrases = set(shop.facts["phrases"].str[0])
    selling = 0
    for item, title, brand in shop.items[["item_id", "title", "brand"]].itertuples(index=False):
        assert title.startswith(f"{brand} ")
        for word in set(title.split()) & phrases:
            selling += 1
            assert facts[item][word] == max(facts[item].values())
            assert facts[item][word] >= 0.6
    assert selling > 0.7 * shop.n_items


def test_chinese_texts_are_written_without_stray_spaces() -> None:
    rng = np.random.default_rng(3)
    shop = synthetic_visitors(
        SyntheticConfig(items=200, locale="zh"), ShopperConfig(shoppers=60), rng
    ).catalogue
    assert (shop.locale, shop.currency) == ("zh", "CNY")
    texts = pd.concat([shop.items["description"], shop.reviews["text"]])
    assert not texts.str.contains(r"[ {}]").any()
    assert texts.str.endswith("。").all()
    han = texts.str.count("[\u4e00-\u9fff]") / texts.str.len()
    assert han.min() > 0.4
    assert not shop.items["title"].str.contains("  ").any()


def test_chinese_prices_end_in_nines() -> None:
    shop = synthetic_catalogue(SyntheticConfig(locale="zh"), np.random.default_rng(4))
    for price in shop.items["price"]:
        text = f"{price:g}"
        assert text.endswith("99" if price > 1000 else ".9" if price < 100 else "9"), text
    # Margins follow the curve in euros, of which one is about eight yuan: by hand, 8 * 0.45 * 10
    # at 80 yuan, and 8 * 0.45 * 40 / sqrt(4) at 320.
    np.testing.assert_allclose(8 * default_margin(np.array([80, 320]) / 8), [36, 72])
    expected = 8 * default_margin(shop.items["price"].to_numpy() / 8)
    np.testing.assert_allclose(shop.items["margin"], expected)


def test_median_prices_are_those_of_the_class(shop: Catalogue) -> None:
    for name, about in load_words(_locale(shop)).classes.items():
        prices = shop.items.loc[shop.items["class"] == name, "price"]
        # The log price has deviation sqrt(spread^2 + (0.8 * 0.27)^2); a median of n has 1.25 times
        # the error of a mean. Brands shift the quality of a whole class by up to 0.2.
        error = 1.25 * np.hypot(about.spread, 0.8 * 0.27) / np.sqrt(len(prices))
        assert abs(np.log(prices.median() / about.price)) < 3 * error + 0.8 * 0.2, name


def _locale(shop: Catalogue) -> Locale:
    return "zh" if shop.locale == "zh" else "en"


@pytest.mark.parametrize("locale", LOCALES)
def test_queries_find_their_class(locale: Locale) -> None:
    rng = np.random.default_rng(5)
    shop = synthetic_catalogue(SyntheticConfig(items=600, locale=locale), rng)
    phrases = shop.facts.groupby("item_id")["phrases"].agg(lambda p: " ".join(x[0] for x in p))
    texts = (shop.items["title"] + " " + shop.items["class"]).to_numpy() + " " + phrases.to_numpy()
    encoder = fit_text_encoder(list(texts), 64, rng)
    classes = load_words(locale).classes
    asked = [(name, query) for name, about in classes.items() for query in about.queries]
    cosine = encoder.encode([query for _, query in asked]) @ encoder.encode(list(texts)).T
    best = np.argsort(-cosine, axis=1)[:, :10]
    found = shop.items["class"].to_numpy()[best] == np.array([name for name, _ in asked])[:, None]
    # By chance one in twelve; a shopper expects to see what they asked for.
    assert found.mean() > 0.9


def test_items_nobody_bought_are_reviewed_by_who_met_them(shop: Catalogue) -> None:
    item = shop.items["item_id"].iloc[0]
    history = pd.DataFrame(
        {"shopper_id": ["S1"], "item_id": [item], "event": ["view"], "timestamp": [0.0]}
    )
    reviews = with_reviews(replace(shop, history=history), np.random.default_rng(0)).reviews
    assert reviews[["item_id", "shopper_id"]].to_numpy().tolist() == [[item, "S1"]]


def test_reviews_need_a_history(shop: Catalogue) -> None:
    with pytest.raises(ValueError, match="history"):
        with_reviews(shop, np.random.default_rng(0))


def test_review_texts_state_only_facts_of_their_item_and_praise_by_strength(
    reviewed: Catalogue,
) -> None:
    phrases_known = list(exploded(reviewed)["phrases"])
    own: dict[str, dict[str, float]] = {}
    facts = reviewed.facts
    for item, phrases, strength in zip(
        facts["item_id"], facts["phrases"], facts["strength"], strict=True
    ):
        own.setdefault(item, {}).update(dict.fromkeys(phrases, strength))
    sample, found = reviewed.reviews.iloc[::10], 0
    for item, text in zip(sample["item_id"], sample["text"], strict=True):
        stated = {p for p in phrases_known if states(text, p, reviewed.locale)}
        assert stated <= set(own[item]), text
        praise, criticism = SAYS[reviewed.locale]
        praised, criticised = re.findall(praise, text), re.findall(criticism, text)
        assert all(own[item][phrase] > 0.5 for phrase in praised)
        assert all(own[item][phrase] < 0.5 for phrase in criticised)
        found += bool(praised) + bool(criticised)
    assert found > 0.3 * len(sample)
    assert sample["text"].nunique() > 0.95 * len(sample)


def test_ratings_follow_quality(reviewed: Catalogue) -> None:
    reviews = reviewed.reviews.merge(reviewed.items[["item_id", "quality"]], on="item_id")
    assert reviews["rating"].isin([1, 2, 3, 4, 5]).all()
    best, worst = (
        reviews.loc[reviews["quality"].between(*band), "rating"].mean()
        for band in ((0.7, 1.0), (0.0, 0.4))
    )
    # 2.4 stars times a quality gap of at least 0.3, before facts add to it.
    assert best - worst > 2.4 * 0.3


def test_ratings_are_mostly_kind_and_sometimes_harsh(reviewed: Catalogue) -> None:
    share = reviewed.reviews["rating"].value_counts(normalize=True)
    assert share[5] > share[4] > share[3] > share[2] > 0
    low, high = next((p.low, p.high) for p in PUBLISHED if p.figure == "rating_mean")
    assert low < reviewed.reviews["rating"].mean() < high


def test_full_marks_come_without_complaint(reviewed: Catalogue) -> None:
    best = reviewed.reviews.loc[reviewed.reviews["rating"] == 5, "text"]
    complaints = "|".join(pattern for _, pattern in SAYS.values())
    assert not best.str.contains(complaints.replace("(.+?)", ".+?")).any()
