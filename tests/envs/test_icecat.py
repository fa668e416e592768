"""The Icecat importer: errors, units, and that what it says reads like words."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from envs.catalogue import load_catalogue, save_catalogue
from envs.errors import UserError
from envs.importers.icecat import ImportResult, import_icecat
from envs.importers.icecat_aspects import RULES
from envs.importers.icecat_files import split_features
from envs.importers.icecat_units import said_capacity
from envs.margins import default_margin
from tests.data_at_hand import shared_data

HEADER = (
    "product_id\tproduct_name\tproduct_class\tbrand\tprice_cents\tdate_released\t"
    "product_description\tproduct_features"
)


def product(
    item: str = "1",
    name: str = "Thing",
    kind: str = "other",
    brand: str = "Acme",
    cents: str = "1000",
    date: str = "2020-01-01",
    about: str = "",
    features: str = "",
) -> str:
    return "\t".join([item, name, kind, brand, cents, date, about, features])


def folder_of(
    path: Path,
    *rows: str,
    header: str = HEADER,
    queries: list[str] | None = None,
    labels: list[str] | None = None,
) -> Path:
    (path / "product.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    if queries is not None:
        (path / "query.tsv").write_text("\n".join(["query_id\tquery", *queries]) + "\n")
    if labels is not None:
        head = "id\tquery_id\tproduct_id\trating"
        (path / "label.tsv").write_text("\n".join([head, *labels]) + "\n")
    return path


def said(path: Path, features: str, **known: str) -> dict[str, str]:
    """Return aspect -> first phrase of a single product with these features."""
    result = import_icecat(folder_of(path, product(features=features, **known)))
    facts = result.catalogue.facts
    return {a: p[0] for a, p in zip(facts["aspect"], facts["phrases"], strict=True)}


# --- mistakes of the user ---------------------------------------------------------------------


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        import_icecat(tmp_path / "nowhere")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"product\.tsv: no such file"):
        import_icecat(tmp_path)


def test_a_truncated_row_states_line_and_both_widths(tmp_path: Path) -> None:
    short = "\t".join(["2", "Thing", "other", "Acme", "1000"])
    folder = folder_of(tmp_path, product("1"), short)
    with pytest.raises(UserError, match=r"line 3: a row must have 8 columns.* has 5"):
        import_icecat(folder)


@pytest.mark.parametrize("cents", ["-5", "abc", "nan", "inf"])
def test_a_bad_price_states_line_and_value(tmp_path: Path, cents: str) -> None:
    folder = folder_of(tmp_path, product("1"), product("2", cents=cents))
    with pytest.raises(UserError, match=f"line 3: price_cents .*{cents}"):
        import_icecat(folder)


def test_a_repeated_id_states_both_lines(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, product("7"), product("8"), product("7"))
    with pytest.raises(UserError, match=r"line 4: product_id must be unique, but '7'.* line 2"):
        import_icecat(folder)


def test_an_empty_id_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2: product_id must not be empty"):
        import_icecat(folder_of(tmp_path, product(" ")))


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    header = HEADER.replace("price_cents", "price_cent")
    with pytest.raises(UserError, match=r"'price_cents' is missing.*Did you mean 'price_cent'"):
        import_icecat(folder_of(tmp_path, product(), header=header))


def test_a_file_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "product.tsv").write_bytes(HEADER.encode() + b"\n\xff\xfe")
    with pytest.raises(UserError, match="must be UTF-8"):
        import_icecat(tmp_path)


def test_no_product_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no product with a name and a price"):
        import_icecat(folder_of(tmp_path))


def test_a_label_of_an_unknown_query_is_an_error(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, product(), queries=["q1\tcable"], labels=["0\tq9\t1\t3"])
    with pytest.raises(UserError, match=r"label\.tsv, line 2: query_id .*'q9'"):
        import_icecat(folder)


@pytest.mark.parametrize("rating", ["4", "-1", "good"])
def test_a_rating_outside_its_scale_is_an_error(tmp_path: Path, rating: str) -> None:
    folder = folder_of(tmp_path, product(), queries=["q1\tcable"], labels=[f"0\tq1\t1\t{rating}"])
    with pytest.raises(UserError, match=f"line 2: rating .*'{rating}'"):
        import_icecat(folder)


def test_a_repeated_query_is_an_error(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, product(), queries=["q1\tcable", "q1\tmouse"])
    with pytest.raises(UserError, match=r"query\.tsv, line 3: query_id must be unique"):
        import_icecat(folder)


def test_a_limit_below_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="limit: must be at least 1"):
        import_icecat(folder_of(tmp_path, product("1"), product("2")), limit=0)


# --- poor rows --------------------------------------------------------------------------------


def test_poor_rows_are_counted_not_lost(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        product("1", features="weight:90.0|:nothing|material:N/A|pallet_weight:1000.0"),
        product("2", cents=""),
        product("3", name="  "),
        product("4", cents="0"),
        product("5", kind="", brand="", about="A thing."),
        queries=["q1\tcable"],
        labels=["0\tq1\t1\t3", "1\tq1\t999\t2", "2\tq1\t1\t1"],
    )
    result = import_icecat(folder)
    assert result.dropped == {
        "products without a price": 2,
        "products without a name": 1,
        "feature pairs without a key": 1,
        "feature values that say nothing (empty, N/A)": 1,
        "features of boxes, pallets and article numbers": 1,
        "ratings of products that are not in the catalogue": 1,
        "earlier ratings of the same query and product": 1,
    }
    assert result.poor == {
        "items without a description": 1,
        "items without features": 1,
        "items without a fact": 1,
    }
    items = result.catalogue.items.set_index("item_id")
    assert list(items.index) == ["1", "5"]
    assert (items.loc["5", "class"], items.loc["5", "brand"]) == ("other", "unbranded")
    assert result.catalogue.judgements["rating"].tolist() == [1.0]
    lines = "\n".join(result.summary_lines())
    assert "dropped 2: products without a price" in lines
    assert "kept 1: items without a fact" in lines


def test_the_limit_spreads_over_the_file_and_is_counted(tmp_path: Path) -> None:
    rows = [product(str(i), name=f"Thing {i}") for i in range(10)]
    result = import_icecat(folder_of(tmp_path, *rows), limit=2)
    assert list(result.catalogue.items["item_id"]) == ["0", "5"]
    assert result.dropped == {"products beyond the limit": 8}


def test_features_split_at_the_first_colon() -> None:
    from collections import Counter

    dropped: Counter[str] = Counter()
    cell = r"ratio:16:9|url:http://x|:lost|plain|note:one\\n- two|ratio:4:3"
    assert split_features(cell, dropped) == {
        "ratio": "16:9",
        "url": "http://x",
        "note": "one\n- two",
    }
    assert dropped == {"feature pairs without a key": 2, "repeated feature keys": 1}
    assert split_features("", dropped) == {}


def test_titles_are_cleaned_and_made_unique(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        product("1", name="Ink &amp; more  Original 1 pc(s)"),
        product("2", name="Cable"),
        product("3", name="Cable"),
        product("4", name="Labels 3 pc(s)"),
    )
    assert import_icecat(folder).catalogue.items["title"].tolist() == [
        "Ink & more Original",
        "Cable (2)",
        "Cable (3)",
        "Labels 3 pc(s)",
    ]


def test_descriptions_lose_markup_and_written_out_line_breaks(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, product(about=r"Fast <br />and small\\nBlack"))
    assert import_icecat(folder).catalogue.items["description"][0] == "Fast and small Black"


def test_prices_and_margins_are_in_euros(tmp_path: Path) -> None:
    catalogue = import_icecat(folder_of(tmp_path, product(cents="23495"))).catalogue
    assert catalogue.items["price"][0] == pytest.approx(234.95)
    assert catalogue.items["margin"][0] == pytest.approx(float(default_margin(234.95)))
    assert catalogue.currency == "EUR"
    assert any("no currency" in note for note in catalogue.notes)
    assert any("no ratings" in note for note in catalogue.notes)


# --- units ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "aspect", "phrase"),
    [
        ("weight:90.0", "weight", "90 g weight"),
        ("weight:1200.0", "weight", "1.2 kg weight"),
        ("weight__imperial_:2.2046", "weight", "1 kg weight"),
        ("cable_length:1.8", "cable", "1.8 m cable"),
        ("cable_length:0.3", "cable", "30 cm cable"),
        ("display_diagonal:15.6", "screen", "15.6-inch screen"),
        ("internal_memory:8.0", "memory", "8 GB memory"),
        ("internal_memory:0.0625", "memory", "64 MB memory"),
        ("internal_memory:0.12", "memory", "128 MB memory"),
        ("ssd_capacity:1000.0", "storage", "1 TB SSD"),
        ("total_storage_capacity:0.7", "storage", "700 MB storage"),
        ("processor_frequency:2.66", "speed", "2.66 GHz clock speed"),
        ("processor_frequency:400.0", "speed", "400 MHz clock speed"),
        ("maximum_data_transfer_rate:1000.0", "speed", "1 Gbit/s data rate"),
        ("battery_capacity:2020.0", "battery", "2,020 mAh battery"),
        ("battery_capacity:7.2", "battery", "7.2 Ah battery"),
        ("black_toner_page_yield:2500.0", "lifespan", "2,500-page yield"),
        ("acoustic_power_emissions:6.8 B(A)", "noise", "68 dB sound power"),
        ("width:80.0|depth:20.0|height:11.5", "size", "80x20x11.5 mm size"),
        ("dimensions__wxdxh_:440 x 300 x 44", "size", "44x30x4.4 cm size"),
        ("display_resolution:1920 x 1080", "resolution", "1920x1080 pixels"),
        ("operating_temperature__t_t_:-10 - 40", "temperature", "-10 to 40 °C operation"),
        ("tilt_angle_range:-5 - 25", "mounting", "30° tilt range"),
        ("hdmi_ports_quantity:2.0", "ports", "two HDMI ports"),
        ("hdmi_ports_quantity:1.0", "ports", "HDMI port"),
        ("connector_1:USB A|connector_2:USB B", "ports", "USB-A to USB-B connectors"),
        ("connector_1:RJ-45|connector_2:RJ-45", "ports", "RJ-45 connectors"),
        ("bluetooth_version:2.1+EDR", "wireless", "Bluetooth 2.1"),
        ("wi_fi_standards:802.11g,Wi-Fi 4 (802.11n),Wi-Fi 5 (802.11ac)", "wireless", "Wi-Fi 5"),
        ("connector_contacts_plating:Gold", "material", "gold-plated contacts"),
        ("energy_star_certified:True", "energy saving", "Energy Star certification"),
        ("housing_material:Aluminum,Plastic", "material", "aluminium housing"),
        ("product_colour:Gray", "colour", "grey colour"),
        ("product_colour:Black,Copper colour", "colour", "black and copper colours"),
        ("quantity_per_pack:10.0", "pack size", "pack of 10"),
        ("processor_family:Intel Core i7-10xxx", "processor", "Intel Core i7 processor"),
        ("processor_socket:LGA 775 (Socket T)", "compatibility", "LGA 775 socket"),
    ],
)
def test_values_become_what_a_person_says(
    tmp_path: Path, features: str, aspect: str, phrase: str
) -> None:
    assert said(tmp_path, features) == {aspect: phrase}


@pytest.mark.parametrize(
    "features",
    [
        "weight:0.0",
        "weight:0.6",
        "weight:heavy",
        "weight:nan",
        "bluetooth:False",
        "bluetooth:N",
        "touchscreen:N/A",
        "quantity_per_pack:1.0",
        "cable_length:90000.0",
        "internal_memory:128.0",
        "operating_temperature__t_t_:59 - 86",
        "compatibility:Any printer of the old series, and some of the new ones as well",
        "pallet_weight:12000.0",
        "some_unheard_of_key:True",
        "response_time:1e-06",
    ],
)
def test_nonsense_and_the_unclear_are_no_fact(tmp_path: Path, features: str) -> None:
    assert said(tmp_path, features) == {}


@pytest.mark.parametrize("value", ["True", "Y", "yes"])
def test_a_true_boolean_is_a_fact(tmp_path: Path, value: str) -> None:
    assert said(tmp_path, f"touchscreen:{value}") == {"ease of use": "touchscreen"}


def test_the_title_settles_a_missing_unit(tmp_path: Path) -> None:
    assert said(tmp_path, "internal_memory:128.0", name="Module 128MB")["memory"] == "128 MB memory"
    assert said(tmp_path, "internal_memory:128.0", name="Kit 128 GB")["memory"] == "128 GB memory"


def test_printers_count_their_memory_in_megabytes(tmp_path: Path) -> None:
    assert said(tmp_path, "internal_memory:64.0", kind="printers") == {"memory": "64 MB memory"}


def test_the_data_sheet_goes_before_the_title(tmp_path: Path) -> None:
    facts = said(tmp_path, "cable_length:2.0", kind="cables", name="Cable 5 m Red")
    assert facts == {"cable": "2 m cable", "colour": "red colour"}


def test_capacities_of_a_thousand_and_of_1024_are_one_terabyte() -> None:
    assert said_capacity(1000) == said_capacity(1024) == "1 TB"
    assert said_capacity(0.5) == said_capacity(0.512) == "512 MB"


# --- strength ---------------------------------------------------------------------------------


def test_strength_is_the_percentile_in_the_good_direction(tmp_path: Path) -> None:
    # Five weights: the lightest is as good as all of them, the heaviest as one in five.
    rows = [
        product(str(i), name=f"Thing {i}", features=f"weight:{100 * (i + 1)}.0") for i in range(5)
    ]
    facts = import_icecat(folder_of(tmp_path, *rows)).catalogue.facts
    assert facts["strength"].tolist() == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])


def test_rare_booleans_are_stronger(tmp_path: Path) -> None:
    # 1 of 4 has a touchscreen, 4 of 4 are black: 0.9 - 0.6/4 and 0.9 - 0.6.
    rows = [product(str(i), name=f"Thing {i}", features="product_colour:Black") for i in range(3)]
    rows.append(product("3", features="product_colour:Black|touchscreen:True"))
    facts = import_icecat(folder_of(tmp_path, *rows)).catalogue.facts
    strength = facts[facts["item_id"] == "3"].set_index("aspect")["strength"]
    assert strength["ease of use"] == pytest.approx(0.75)
    assert strength["colour"] == pytest.approx(0.3)


def test_numbers_of_another_unit_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [product(str(i), name=f"Printer {i}", features="weight:15000.0") for i in range(10)]
    rows.append(product("10", name="Odd", features="weight:15.0"))
    result = import_icecat(folder_of(tmp_path, *rows))
    assert "10" not in set(result.catalogue.facts["item_id"])
    assert result.dropped == {"numbers far from the rest of their class": 1}


def test_an_item_has_at_most_seven_facts_and_everyday_ones_go_first(tmp_path: Path) -> None:
    features = (
        "product_colour:Black|weight:90.0|display_diagonal:7.0|ssd_capacity:64.0|bluetooth:True|"
        "battery_capacity:4000.0|fingerprint_reader:True|fm_radio:True|cable_length:1.0"
    )
    facts = said(tmp_path, features)
    assert len(facts) == 7
    assert not {"colour", "weight"} & set(facts)


def test_rules_know_their_keys_once_an_aspect() -> None:
    for rule in RULES:
        assert len(set(rule.keys)) == len(rule.keys)


# --- the real shop ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop() -> ImportResult:
    return import_icecat(shared_data("icecat_shop"))


def test_the_real_shop_is_kept_whole_within_seconds() -> None:
    folder = shared_data("icecat_shop")
    start = time.process_time()
    result = import_icecat(folder)
    assert time.process_time() - start < 15
    lost = sum(count for reason, count in result.dropped.items() if reason.startswith("products"))
    assert result.catalogue.n_items + lost == 6000


def test_most_real_products_have_three_facts(shop: ImportResult) -> None:
    count = shop.catalogue.facts["item_id"].value_counts()
    assert (count >= 3).sum() / shop.catalogue.n_items >= 0.78
    assert count.max() <= 7


def test_real_phrases_are_words(shop: ImportResult) -> None:
    keys = {key for key in shop.catalogue.features["key"] if "_" in key}
    for phrases in shop.catalogue.facts["phrases"]:
        assert 1 <= len(phrases) <= 3
        for phrase in phrases:
            assert 1 <= len(phrase.split()) <= 6
            assert not set("_|:;\\\n") - {":"} & set(phrase)
            assert ":" not in phrase or ":1 contrast" in phrase
            assert phrase not in keys
            assert len(phrase) <= 50


def test_a_real_phrase_names_one_aspect_and_holds_no_other(shop: ImportResult) -> None:
    facts = shop.catalogue.facts
    aspect_of: dict[str, str] = {}
    for aspect, phrases in zip(facts["aspect"], facts["phrases"], strict=True):
        for phrase in phrases:
            assert aspect_of.setdefault(phrase, aspect) == aspect
    # Nor may "15 W power" hide in "15 W power draw": a text would claim both.
    for phrase, aspect in aspect_of.items():
        words = phrase.split()
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                part = " ".join(words[start:end])
                assert aspect_of.get(part, aspect) == aspect, f"{part!r} in {phrase!r}"


def test_one_fact_an_aspect_and_item(shop: ImportResult) -> None:
    assert not shop.catalogue.facts.duplicated(["item_id", "aspect"]).any()


def test_real_numbers_lie_in_their_ranges(shop: ImportResult) -> None:
    items = shop.catalogue.items
    assert items["title"].is_unique
    assert np.ptp(items["quality"]) > 0.3
    assert not any(key.startswith(("pallet", "master")) for key in shop.catalogue.features["key"])
    assert len(shop.catalogue.judgements) <= 2570
    assert set(shop.catalogue.judgements["rating"]) <= {0.0, 1.0, 2.0, 3.0}


def test_the_real_shop_survives_a_file(shop: ImportResult, tmp_path: Path) -> None:
    save_catalogue(shop.catalogue, tmp_path / "shop")
    again = load_catalogue(tmp_path / "shop")
    assert again.summary() == shop.catalogue.summary()
    np.testing.assert_array_equal(again.aspect_matrix, shop.catalogue.aspect_matrix)
