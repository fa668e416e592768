"""The storefront page in a real browser, against the real service over a hostile catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from policies.service.keys import make_key
from tests.e2e.storefront import (
    FAINT,
    HOSTILE,
    Running,
    chromium,
    hostile_visitors,
    running,
    shown,
)
from tests.policies.bundle_at_hand import make_bundle

STATIC = Path(__file__).parents[2] / "policies" / "service" / "static"
SLOTS = 4


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def bundle(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "bundle"
    return make_bundle(path, None, hostile_visitors()).path


@pytest.fixture(scope="module")
def service(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(bundle, tmp_path_factory.mktemp("open")) as made:
        yield made


@pytest.fixture
def page(browser: Browser, service: Running) -> Iterator[Page]:
    """A shelf on a wide screen; whatever the browser complains of fails the test."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        made = context.new_page()
        complaints: list[str] = []
        made.on("pageerror", lambda error: complaints.append(str(error)))
        made.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        made.goto(service.url)
        shown(made)
        yield made
        # Chromium itself notes each answer that is no success, which some tests arrange.
        assert [c for c in complaints if "Failed to load resource" not in c] == []


def titles(page: Page) -> list[str]:
    return page.locator(".title").all_text_contents()


def choose(page: Page, group: str, value: str) -> dict[str, Any]:
    """Press one of the page's switches; return the shelf that it brought."""
    with page.expect_response("**/v1/shelf") as answered:
        page.get_by_role("group", name=group).get_by_role("radio", name=value).check()
    shown(page)
    found: dict[str, Any] = answered.value.json()
    return found


def test_page_is_small_and_all_of_it_is_ours() -> None:
    html = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|<style", html)
    scripts = "".join(path.read_text() for path in STATIC.glob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", scripts)
    whole = html + scripts + (STATIC / "style.css").read_text()
    assert re.findall(r"https?://[^\s\"']+", whole) == []
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 67_000


def test_both_languages_have_the_same_words() -> None:
    words = json.loads((STATIC / "strings.json").read_text())
    one_only = {key for key in words["en"] if key.endswith(".one")} | {"notes"}
    assert set(words["en"]) - one_only == set(words["zh"]) - one_only
    for key, text in words["zh"].items():
        if key != "notes":
            assert set(re.findall(r"\{\w+\}", text)) == set(
                re.findall(r"\{\w+\}", words["en"][key])
            )
    # Each is used: by its name, or by a name that is put together.
    used = "".join(p.read_text() for p in STATIC.iterdir() if p.suffix in (".js", ".html"))
    for key in set(words["en"]) - one_only:
        stem, _, last = key.rpartition(".")
        made = (f"`{stem}.${{", f"`{key.partition('.')[0]}.${{kind}}.{last}`")
        assert f'"{key}"' in used or any(name in used for name in made), key


def test_shelf_shows_what_the_service_answers(page: Page, service: Running) -> None:
    with page.expect_response("**/v1/shelf") as answered:
        page.get_by_label("Shopper", exact=True).select_option("s05")
    shown(page)
    shelf = answered.value.json()
    assert titles(page) == [item["title"] for item in shelf["items"]]
    assert len(shelf["items"]) == SLOTS
    expect(page.get_by_role("heading", level=1)).to_have_text("For s05")
    expect(page.locator("footer")).to_contain_text(shelf["bundle"]["id"])
    expect(page.locator("footer")).to_contain_text("top_k")
    card = page.locator(".card").first
    card.get_by_text("Why it is here").click()
    first = shelf["items"][0]
    for row in card.locator("tbody tr").all():
        assert re.search(r"(0\.00|[+−]\d\.\d\d)$", row.inner_text())
    added = sum(first["contributions"].values())
    assert float(card.locator("tfoot .number").inner_text().replace("−", "-")) == pytest.approx(
        added, abs=0.006
    )
    # Longer bars are larger contributions, and those below nothing look and stand otherwise.
    widths = {
        value: card.locator(".bar i").nth(place).bounding_box()
        for place, value in enumerate(sorted(first["contributions"].values(), reverse=True))
    }
    zero = card.locator(".bar b").first.bounding_box()
    assert zero is not None
    for value, box in widths.items():
        if abs(value) > 0.05:
            assert box is not None
            assert (box["x"] < zero["x"] - 0.5) == (value < 0)
    # The same shelf is in the store.
    ((stored,),) = service.rows(
        f"SELECT shown FROM shelftalk_slates WHERE slate_id = '{shelf['slate_id']}'"
    )
    assert [row[0] for row in json.loads(str(stored))] == [i["item_id"] for i in shelf["items"]]


def test_switches_and_comparison(page: Page) -> None:
    tuned = titles(page)
    similar = choose(page, "Order", "Similarity")
    assert titles(page) == [item["title"] for item in similar["items"]] != tuned
    before = [item["reason"] for item in choose(page, "Reasons", "Before")["items"]]
    after = [item["reason"] for item in choose(page, "Reasons", "Tuned")["items"]]
    assert before != after
    choose(page, "Reasons", "None")
    assert page.locator(".reason").count() == 0
    choose(page, "Reasons", "Tuned")
    choose(page, "Order", "Tuned")
    assert titles(page) == tuned
    page.get_by_role("button", name="Compare before and after").click()
    expect(page.locator(".card")).to_have_count(2 * SLOTS)
    shown(page)
    first, second = page.locator(".column").all()
    assert second.locator(".title").all_text_contents() == tuned
    left, right = (c.locator(".title").all_text_contents() for c in (first, second))
    for place, (title, card) in enumerate(zip(right, second.locator(".card").all())):
        up = left.index(title) - place if title in left else None
        words = {None: "not in the other", 0: "same place"}.get(up, f"{abs(up or 0)} ")
        expect(card.locator(".moved")).to_contain_text(words)
    page.get_by_role("button", name="Show one shelf").click()
    assert titles(page) == tuned


def test_claims_are_marked_and_show_their_fact(page: Page) -> None:
    shelf = choose(page, "Order", "Similarity")
    item = next(item for item in shelf["items"] if item["facts"])
    card = page.locator(".card").nth(item["position"])
    fact = item["facts"][0]
    claim = card.get_by_role("button", name=fact["phrase"], exact=True)
    assert card.locator(".reason .words").inner_text() == item["reason"]
    tip = card.get_by_role("tooltip")
    for show, hide in (
        (claim.hover, lambda: page.mouse.move(0, 0)),
        (claim.focus, lambda: page.keyboard.press("Escape")),
        (claim.click, lambda: page.locator("h1").click()),
    ):
        assert tip.count() == 0
        show()
        expect(tip).to_be_visible()
        expect(tip).to_contain_text(fact["value"])
        expect(tip).to_contain_text(fact["aspect"])
        hide()
        expect(tip).to_have_count(0)
    # Who comes to it with a screen reader hears the same.
    described = page.locator(f"#{claim.get_attribute('aria-describedby')}")
    assert fact["value"] in (described.text_content() or "")


def test_pieces_count_characters_and_share_overlaps(page: Page) -> None:
    cut = """async ([text, facts]) => {
      const { pieces } = await import("/static/claims.js");
      return pieces(text, facts).map((piece) => [piece.text, piece.facts.length]);
    }"""
    facts = [{"start": 2, "end": 7}, {"start": 5, "end": 9}, {"start": 12, "end": 99}]
    assert page.evaluate(cut, ["😀 light lamp 🔋!", facts]) == [
        ["😀 ", 0], ["light l", 2], ["amp", 0], [" 🔋!", 1],
    ]  # fmt: skip
    assert page.evaluate(cut, ["plain", []]) == [["plain", 0]]
    assert page.evaluate(cut, ["plain", [{"start": 4, "end": 2}]]) == [["plain", 0]]


def test_click_and_purchase_arrive_once_whatever_the_network_does(
    page: Page, service: Running
) -> None:
    before = service.events()
    sent: list[dict[str, Any]] = []

    def lose_the_answer(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or ""))
        response = route.fetch()
        if len(sent) == 1:
            route.abort()
        else:
            route.fulfill(response=response)

    page.route("**/v1/feedback", lose_the_answer)
    first, second = (page.locator(".card").nth(place) for place in (0, 1))
    opened = first.locator(".title")
    opened.click()
    expect(page.get_by_role("alert")).to_contain_text("it counts once")
    expect(first.locator(".state")).to_have_text("Viewed · not stored yet")
    expect(first.locator(".state")).to_have_text("Viewed")
    expect(page.get_by_role("alert")).to_be_empty()
    opened.click()
    opened.click()
    second.get_by_role("button", name="Buy").click()
    expect(page.get_by_role("status")).to_have_text("Purchase stored.")
    second.get_by_role("button", name="Bought").click(force=True)
    assert [event["event_id"] for event in sent[0]["events"]] == [
        event["event_id"] for event in sent[1]["events"]
    ]
    fresh = [event for event in service.events() if event not in before]
    assert sorted(str(kind) for _, kind in fresh) == ["click", "click", "purchase"]
    assert len({item for item, _ in fresh}) == 2
    assert len(sent) == 3


def test_next_page_tells_what_happened_and_shows_nothing_bought(
    page: Page, service: Running
) -> None:
    ids = [item["item_id"] for item in choose(page, "Order", "Similarity")["items"]]
    page.locator(".title").nth(1).click()
    page.locator(".buy").nth(0).click()
    expect(page.get_by_role("status")).to_have_text("Purchase stored.")
    with page.expect_response("**/v1/shelf") as answered:
        page.get_by_role("button", name="Next page").click()
    shown(page)
    shelf = answered.value.json()
    asked = json.loads(answered.value.request.post_data or "")
    assert asked["session"]["pages"] == [
        {"shown": ids, "clicked": [ids[1], ids[0]], "bought": [ids[0]]}
    ]
    assert (shelf["step"], asked["session"]["session_id"]) == (1, shelf["session_id"])
    assert ids[0] not in [item["item_id"] for item in shelf["items"]]
    expect(page.locator(".sum")).to_have_text("This visit: page 2 · 2 viewed · 1 bought")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    page.get_by_role("button", name="New visit").click()
    expect(page.locator(".sum")).to_have_text("This visit: page 1 · 0 viewed · 0 bought")
    # Whoever is impatient turns one page, and no visit holds two shelves of one step.
    page.get_by_role("button", name="Next page").dblclick()
    shown(page)
    expect(page.locator(".sum")).to_contain_text("page 2")
    choose(page, "Order", "Tuned")
    twice = "SELECT 1 FROM shelftalk_slates GROUP BY session_id, step HAVING count(*) > 1"
    assert service.rows(twice) == []


def test_scenes_and_search(page: Page) -> None:
    beside = choose(page, "Scene", "Beside an item")
    title = page.locator("#item option:checked").inner_text()
    assert beside["scene"] == "similar"
    assert title not in titles(page)
    page.get_by_role("group", name="Scene").get_by_role("radio", name="Search").check()
    box = page.get_by_role("searchbox", name="Search for")
    for query in ("headphones", "\u202e<qzxvw>"):
        box.fill(query)
        with page.expect_response("**/v1/shelf"):
            box.press("Enter")
        shown(page)
    # Nothing matches markup: the home shelf, with a note that repeats the query as text.
    expect(page.locator(".notes")).to_contain_text("this is the home shelf")
    page.get_by_role("button", name="headphones", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("“headphones”")
    # The address keeps it all.
    page.reload()
    shown(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("“headphones”")


@pytest.mark.parametrize("width", [1280, 360])
def test_hostile_text_is_shown_as_text_and_breaks_nothing(
    browser: Browser, service: Running, width: int
) -> None:
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        shopper = "<b>\u202eevil"
        page.goto(f"{service.url}#shopper={shopper}&lang=en")
        shown(page)
        met = set(titles(page))
        for place, bad in enumerate(HOSTILE):
            page.evaluate("([h]) => { location.hash = h; }", [
                f"shopper={shopper}&scene=similar&item=I{2 * place + 1:02}"
            ])  # fmt: skip
            expect(page.locator("h1")).to_contain_text(bad)
            shown(page)
            for title in page.locator(".title").all():
                title.click()
            met |= set(titles(page))
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            # No line of any card leaves it, whatever is written on it.
            assert page.evaluate("""() => [...document.querySelectorAll(".card")].every((card) => {
              const frame = card.getBoundingClientRect();
              return frame.height < 1600 && [...card.querySelectorAll("*")].every((node) =>
                !node.checkVisibility() || node.getBoundingClientRect().right <= frame.right + 1);
            })""")
        assert sum(any(bad in title for title in met) for bad in HOSTILE) >= 3
        assert page.title() == f"{HOSTILE[0]} · Shelftalk"
        assert page.locator("main script, main img, main style, h1 b").count() == 0
        expect(page.locator("#shop")).to_have_text(HOSTILE[0])
        expect(page.locator(".notes").first).to_contain_text("this is the shelf of the average")


def test_chinese(browser: Browser, service: Running) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()

        def in_chinese(route: Route) -> None:
            response = route.fetch()
            route.fulfill(response=response, json=response.json() | {"locale": "zh"})

        page.route("**/v1/shop", in_chinese)
        page.goto(service.url)
        shown(page)
        assert page.locator("html").get_attribute("lang") == "zh-Hans"
        expect(page.get_by_role("heading", level=1)).to_have_text("为 s00 挑选")
        expect(page.get_by_role("button", name="购买").first).to_be_visible()
        assert not re.search("[a-z]{3}", page.locator(".switches").inner_text())
        page.get_by_label("顾客", exact=True).select_option("")
        expect(page.get_by_role("heading", level=1)).to_have_text("为任何人挑选")
        # The service writes its notes in English; those that are met daily are translated.
        expect(page.locator(".notes")).to_have_text("未指定顾客：这是平均顾客的货架。")
        page.get_by_label("顾客", exact=True).select_option("s00")
        expect(page.get_by_role("heading", level=1)).to_have_text("为 s00 挑选")
        page.locator(".title").first.click()
        page.get_by_role("button", name="English").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("For s00")
        expect(page.locator(".state").first).to_have_text("Viewed")
        page.unroute_all(behavior="wait")


def test_a_finger_opens_and_closes_a_fact(browser: Browser, service: Running) -> None:
    size: Any = {"width": 390, "height": 844}
    with browser.new_context(viewport=size, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        page.goto(service.url)
        shown(page)
        claim, other = (page.locator(".claim").nth(place) for place in (0, 1))
        claim.tap()
        expect(page.get_by_role("tooltip")).to_have_count(1)
        other.tap()
        expect(page.get_by_role("tooltip")).to_have_count(1)
        box = page.get_by_role("tooltip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size["width"]
        other.tap()
        expect(page.get_by_role("tooltip")).to_have_count(0)


def test_waiting_is_told_and_a_refusal_says_what_to_do(page: Page) -> None:
    old = titles(page)
    held: list[Route] = []
    page.route("**/v1/shelf", lambda route: held.append(route))

    def caught() -> Route:
        while not held:
            page.wait_for_timeout(20)
        return held.pop()

    page.get_by_role("group", name="Order").get_by_role("radio", name="Similarity").check()
    expect(page.get_by_role("status")).to_have_text("Setting out the shelf…")
    assert titles(page) == old  # nothing goes before what comes is there
    caught().continue_()
    shown(page)
    expect(page.get_by_role("status")).to_have_text("4 items, page 1.")
    kept = titles(page)
    assert kept != old

    alert = page.get_by_role("alert")
    for status, says in ((429, "Too many requests"), (413, "too large"), (422, "cannot do this")):
        page.get_by_role("button", name="Next page").click()
        error = {"code": "any", "message": "<b>no</b>", "where": "body.k"}
        caught().fulfill(status=status, json={"error": error})
        expect(alert).to_contain_text(says)
        expect(alert).to_contain_text("The service says: <b>no</b> (body.k)")
        assert titles(page) == kept
    page.unroute_all()
    alert.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("status")).to_have_text("4 items, page 2.")
    expect(alert).to_be_empty()


def test_keyboard_alone_is_enough_and_shows_where_it_is(page: Page, service: Running) -> None:
    seen = """() => {
      const node = document.activeElement;
      const marked = node.matches(".segments input") ? node.nextElementSibling : node;
      const style = getComputedStyle(marked);
      const name = node.className || node.name || node.id;
      return [name, style.outlineStyle, parseFloat(style.outlineWidth)];
    }"""
    walked = []
    page.keyboard.press("Tab")
    while (at := page.evaluate(seen))[0] != "title":
        walked.append(at)
        assert at[1] != "none", at
        assert at[2] >= 2, at
        page.keyboard.press("Tab")
        assert len(walked) < 20
    assert walked[0][0] == "skip"
    before = len(service.events())
    page.keyboard.press("Enter")
    expect(page.locator(".title").first).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("status")).to_have_text("View stored.")
    while page.evaluate(seen)[0] != "buy":
        page.keyboard.press("Tab")
        if page.evaluate(seen)[0] == "claim":
            expect(page.get_by_role("tooltip")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_have_text("Purchase stored.")
    assert len(service.events()) == before + 2
    page.get_by_role("radio", name="Tuned").first.focus()
    with page.expect_response("**/v1/shelf"):
        page.keyboard.press("ArrowLeft")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_names_and_structure(browser: Browser, service: Running, scheme: Any) -> None:
    with browser.new_context(
        color_scheme=scheme, viewport={"width": 390, "height": 844}
    ) as context:
        page = context.new_page()
        page.goto(service.url)
        shown(page)
        page.locator(".title").first.click()
        page.locator(".buy").nth(1).click()
        page.locator("summary").first.click()
        page.locator(".claim").first.focus()
        expect(page.get_by_role("status")).to_have_text("Purchase stored.")
        assert page.evaluate(FAINT) == []
        page.route("**/v1/shelf", lambda route: route.abort())
        page.get_by_role("button", name="Next page").click()
        expect(page.get_by_role("alert")).to_contain_text("does not answer")
        assert page.evaluate(FAINT) == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
        assert len(ids) == len(set(ids))
        for role in ("button", "radio", "combobox", "searchbox", "textbox"):
            for control in page.get_by_role(role).all():
                assert control.aria_snapshot().strip("- :\n") != role
        assert page.get_by_role("main").count() == page.get_by_role("search").count() == 1
        assert page.locator("h1").count() == 1
        page.unroute_all(behavior="wait")


def test_keys_and_a_service_that_goes_and_comes_back(
    browser: Browser, bundle: Path, tmp_path: Path
) -> None:
    key, kept = make_key("shop", "read")
    with running(bundle, tmp_path, kept.line) as service, browser.new_context() as context:
        page = context.new_page()
        page.goto(service.url)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("asks for an API key")
        box = page.get_by_label("API key", exact=True)
        for wrong in ("wrong", "schlüssel 密钥"):
            box.fill(wrong)
            box.press("Enter")
            expect(alert).to_contain_text("is not accepted")
        box.fill(key)
        box.press("Enter")
        shown(page)
        expect(alert).to_be_empty()
        expect(box).to_be_hidden()
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]

        service.stop()
        page.locator(".buy").first.click()
        expect(alert).to_contain_text("The service does not answer.")
        expect(page.locator(".state").first).to_have_text("Bought · not stored yet")
        page.get_by_role("radio", name="Similarity").check()
        before = titles(page)
        service.start()
        expect(alert).to_be_empty(timeout=30_000)
        expect(page.locator(".column h2")).to_have_text("Order: Similarity · Reasons: Tuned")
        shown(page)
        assert titles(page) != before
        assert [kind for _, kind in service.events()] == ["click", "purchase"]
