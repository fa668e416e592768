"""The report shows the run's own figures, escapes what others wrote, and bears missing parts."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from envs.files import write_json
from experiments.report import moves, pieces, write_report
from experiments.report_parts import Card, Mark
from experiments.report_writing import marked_claims
from tests.experiments import report_run
from tests.experiments.report_page import alter, report_of, well_formed


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return report_run.write_run(tmp_path / "fixture")


def test_a_finished_run_makes_one_sound_self_contained_page(run: Path) -> None:
    html = report_of(run)
    page = well_formed(html)
    assert "Not run yet" not in page.text
    assert "<script" not in html
    assert "@import" not in html
    assert "url(" not in html
    # Every link stays on the page and leads somewhere.
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    # One title, and no level is skipped on the way down.
    assert page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:]))
    # Every chart says in words what it shows; every table has a caption.
    assert (
        re.findall(r'<svg class="chart"(?! role="img" height="\d+" aria-label="[^"]{20,}")', html)
        == []
    )
    assert html.count("<table>") == html.count("<caption>")


def test_the_counts_are_those_of_the_run(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    counts = write_report(run, out)
    assert counts.pop("bytes") == out.stat().st_size
    assert counts.pop("charts") == out.read_text().count('<svg class="chart"')
    assert counts == {
        "policies": 11, "estimates": 4, "samples": 2, "shelves": 2, "warnings": 1, "missing": 0
    }  # fmt: skip


def test_the_page_is_the_same_each_time(run: Path) -> None:
    assert report_of(run) == report_of(run)


def test_figures_are_those_of_the_run(run: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        ranker = metrics["simulate"]["policies"]["ranker"]
        ranker["return"] = {"mean": 11.2345, "low": 11.1166, "high": 11.3524}
        ranker["ctr"] = {"mean": 0.12345, "low": 0.1210, "high": 0.1259}

    alter(run, "metrics.json", change)
    text = well_formed(report_of(run)).text
    # Written out by hand from metrics.json.
    assert "11.23 11.12 to 11.35" in text
    assert "12.35 % 12.10 % to 12.59 %" in text
    assert "+4.74 (4.53 to 4.95)" in text
    assert "Items 1,012" in text
    assert "all stages 425.4 s" in text
    assert "Claims that the item supports 93.1 % 99.4 %" in text
    assert "RIPS 2.440 2.130 to 2.750 yes +0.076 402 5.0 % of 8,000" in text
    assert "DM 2.071 2.021 to 2.121 no −0.293" in text
    assert "holds 17 files, 9.4 MB" in text
    assert "torch 2.13.0, trl 1.16.0" in text
    assert "Seed 7." in text
    assert "Adapter held-out loss 0.435" in text
    assert "covers 69.6 % of the way from the similarity shelf to the oracle" in text
    assert "The log's own policy earns 1.702." in text
    assert "on the page of “Kestrel Dock mini”" in text


def test_policies_stand_from_the_highest_return_to_the_lowest(run: Path) -> None:
    html = report_of(run)
    table = html[html.index("Mean per session") : html.index("Paired differences")]
    shown = re.findall(
        r'<th scope="row">(.*?)</th>\s*<td><b>\s*([\d.]+)', re.sub(r"\n\s*", "", table)
    )
    returns = [float(value) for _, value in shown]
    # Eleven names, but `similarity+ppo` is `similarity` and `ranker+ppo` is `ranker`.
    assert len(returns) == 9
    assert returns == sorted(returns, reverse=True)
    assert shown[0][0] == "Oracle"


# --- Plain words ------------------------------------------------------------------------------


def _with_headline(run: Path, diff: float, low: float, high: float) -> str:
    def change(metrics: dict[str, Any]) -> None:
        pairs = metrics["simulate"]["paired"]
        pairs[0] |= {"diff": diff, "low": low, "high": high}

    alter(run, "metrics.json", change)
    html = report_of(run)
    summary = re.search(r'<p class="summary">(.*?)</p>', html, re.DOTALL)
    assert summary
    return unescape(summary[1]).replace("\u00a0", " ")


def test_the_summary_says_what_was_gained(run: Path) -> None:
    summary = _with_headline(run, 0.661, 0.5, 0.822)
    assert summary.startswith(
        "The RL ranker earns 0.66 more per session than the similarity shelf "
        "(95 % interval 0.50 to 0.82; 9 % more) in the simulated shop."
    )
    assert (
        "PPO raised what a reason is worth by 0.382 (95 % interval 0.344 to 0.421; expected"
        in summary
    )
    assert "DR puts the new ranker at 2.39 per slate" in summary
    assert "which holds the true 2.36" in summary


def test_the_summary_says_when_an_interval_covers_nothing(run: Path) -> None:
    summary = _with_headline(run, 0.05, -0.1, 0.2)
    assert "does not show whether the RL ranker is better or worse" in summary
    assert "covers 0" in summary
    assert "earns" not in summary


def test_the_summary_says_what_was_lost(run: Path) -> None:
    assert "earns 0.66 less per session" in _with_headline(run, -0.661, -0.822, -0.5)


def test_a_pair_the_other_way_round_reads_the_same(run: Path) -> None:
    before = report_of(run)

    def turn(metrics: dict[str, Any]) -> None:
        one = metrics["simulate"]["paired"][0]
        metrics["simulate"]["paired"][0] = {
            "a": one["b"], "b": one["a"], "metric": "return",
            "diff": -one["diff"], "low": -one["high"], "high": -one["low"],
        }  # fmt: skip

    alter(run, "metrics.json", turn)
    after = report_of(run)
    pattern = r'<p class="summary">.*?</p>|<svg class="chart".*?</svg>'
    assert re.findall(pattern, after, re.DOTALL) == re.findall(pattern, before, re.DOTALL)


@pytest.mark.parametrize(("share", "said"), [(0.99, "; 99.0 % of"), (0.97, "; but only 97.0 % of")])
def test_poor_precision_is_not_passed_off_as_good(run: Path, share: float, said: str) -> None:
    def change(metrics: dict[str, Any]) -> None:
        metrics["ppo"]["claim_precision_after"] = share

    alter(run, "metrics.json", change)
    assert f"{said} its claims are supported by the item." in well_formed(report_of(run)).text


def test_what_got_worse_is_said(run: Path) -> None:
    text = well_formed(report_of(run)).text
    worse = "Trust at the end is lower under the RL ranker than under the similarity shelf: −0.0310"
    assert worse in text
    assert "This run does not tell apart: Best fixed mix − Similarity shelf." in text
    assert "8,096 texts, 61 (0.8 %) were replaced by the rule-based text" in text


def test_the_two_by_two_takes_plain_names_as_ppo_reasons_and_pairs_from_either_side(
    run: Path,
) -> None:
    def turn(metrics: dict[str, Any]) -> None:
        for one in metrics["simulate"]["paired"]:
            if (one["a"], one["b"]) == ("ranker", "ranker+sft"):
                one |= {"a": one["b"], "b": one["a"], "diff": -0.85, "low": -1.0, "high": -0.7}

    for change in (lambda metrics: None, turn):
        alter(run, "metrics.json", change)
        text = well_formed(report_of(run)).text
        assert "Similarity 6.61 6.49 to 6.73 7.13 7.01 to 7.25 +0.52 +0.36 to +0.68" in text
        assert "RL ranker 11.02 10.90 to 11.14 11.87 11.75 to 11.99 +0.85 +0.70 to +1.00" in text
        adds = "What the RL ranker adds +4.41 +4.22 to +4.60 +4.74 +4.53 to +4.95 –"
        assert adds in text


# --- Outside text -----------------------------------------------------------------------------


def test_outside_text_is_only_present_escaped(run: Path) -> None:
    evil = "<script>alert('x')</script>\"><img src=x onerror=y>'); DROP TABLE a;-- \u202egnp.exe"

    def card(shelf: dict[str, Any]) -> None:
        shelf["after"][0] |= {"title": evil, "reason": evil, "brand": evil, "claims": [evil]}
        shelf["after"][0] |= {"class": evil, "currency": evil, "scores": {evil: 0.5}}
        shelf |= {"query": evil, "shopper": evil, "likes": [evil], "segment": evil}

    def figures(metrics: dict[str, Any]) -> None:
        metrics["warnings"] = [evil]
        metrics["catalogue"]["notes"] = [evil]
        metrics["catalogue"]["dropped"] = {evil: 1}
        metrics["catalogue"][evil] = 3
        metrics["sft"]["base_model"] = evil
        metrics["ppo"]["unit"] = evil
        metrics["reasons"]["ppo"]["vetoes"] = {evil: 2}
        metrics["simulate"]["policies"][evil] = metrics["simulate"]["policies"]["ranker"]
        metrics["simulate"]["paired"][1]["a"] = evil
        metrics["simulate"]["paired"][2] |= {"a": evil, "metric": "return"}
        metrics["ope"] |= {"logging": evil, "target": evil, "verdict": evil}
        metrics["ope"]["estimates"][0] |= {"estimator": evil, "warnings": [evil]}
        metrics["export"]["bundle"] = evil
        metrics["sft"]["writing"] |= {"fixed_sentence": evil, "vetoes": {evil: 0.1}}
        metrics["sft"]["tasks"][evil] = {evil: {"value": 1.0, "about": evil}}
        metrics["ppo"]["training"]["alarms"][0] |= {"name": evil, "action": evil}
        metrics["ppo"]["held_out_shop"]["shops"][evil] = {"gain": {"value": 1.0}}

    alter(run, "simulate/shelves.json", lambda found: card(found[0]))
    vetoed = {"title": evil, "sft": evil, "ppo": evil, "fallback": evil, "sft_veto": evil}
    facts = {"facts": [[evil, "alert"]], "likes": [evil]}
    alter(run, "ppo/samples.json", lambda found: found[0].update(vetoed | facts))
    alter(run, "metrics.json", figures)
    sample = {"title": evil, "likes": [evil], "facts": [[evil, evil]], "text": evil, "veto": evil}
    marks = [{"start": 0, "end": 8, "supported": True}, {"start": 9, "end": 20, "supported": False}]
    write_json(run / "sft" / "samples.json", [sample | {"claims": marks, "other_text": evil}])
    told = {evil: [dict.fromkeys(("prompt", "text", "reference", "rules"), evil)]}
    write_json(run / "sft" / "task_samples.json", told)
    rows = [{"step": 1, evil: 2.0}, {"step": 2, evil: 3.0}]
    write_json(run / "sft" / "curve.json", {evil: rows})
    config = {"name": evil, "config": {"seed": 7, evil: evil}, "version": evil}
    write_json(run / "run.json", config)

    html = report_of(run)
    page = well_formed(html)
    assert not re.search(r"<\s*(script|img)", html, re.IGNORECASE)
    assert not any("onerror" in (link or "") for link in page.links)
    assert "<script>" in page.text
    assert html.count("&lt;script&gt;") > 25
    # A mark that would turn the rest of its line around is shown by its code instead.
    assert "\u202e" not in html
    assert page.text.count("[U+202E]gnp.exe") > 25


def test_the_writing_is_shown_beside_its_floors(run: Path) -> None:
    html = report_of(run)
    text = well_formed(html).text
    # Written out by hand from the fixture.
    assert "Claims that the item supports 95.5 % 94.1 to 96.9 % 7.6 % 100.0 %" in text
    assert "… the difference, paired 60.2 points 55.2 to 65.2 points 0.0 points 61.0 points" in text
    assert "384 prompts about 96 items that no training text was about, 4 texts each" in text
    assert "repeated claim 7.4 %, unsupported claim 4.5 %" in text
    assert (
        "After supervised training alone, 95.5 % of the claims about unseen items are true (95 % "
        "interval 94.1 to 96.9 %); 83.0 % of the texts state what their reader likes, against "
        "22.8 % when asked for another reader (difference +55.2 to +65.2 points)." in text
    )
    assert "Held-out loss, nats a token: base" in text
    assert (
        'Pick it for its <mark>USB Type-C</mark> and <mark class="bad">free lunch</mark>.' in html
    )
    assert "Vetoed: unsupported claim" in text
    assert "True; the item has nothing that the reader likes" in text
    assert "<b>ports: USB Type-C</b>" in html
    # The stage's own list of figures does not repeat the texts'.
    assert "Writing figures" not in text


def test_other_tasks_are_shown_with_their_samples(run: Path) -> None:
    text = well_formed(report_of(run)).text
    assert "Task: review summary" in text
    assert "ROUGE-L F1, % 58.4 21.5 18.2 61.0 –" in text
    assert "counts equal the reviews' 0.970 0.950 to 0.990 – – 1.00 1.00" in text
    assert "reviews | light -> Pros: light (3). Pros: light (3), price (2). Pros: light." in text


def test_ppo_stands_beside_its_ceiling_and_the_other_shops(run: Path) -> None:
    html = report_of(run)
    text = well_formed(html).text
    assert "Claims that the item supports 93.1 % 99.4 % +6.3 points +4.3 to +8.3 points" in text
    assert "Distinct word pairs 21.3 % 18.7 % 88 % kept" in text
    # The swap test's change covers 0, so it is not in bold.
    assert '<b class="open">+0.02</b> <span class="range">−0.03 to +0.07</span>' in html
    assert "best of 16 SFT texts by the reward itself is worth 1.401" in text
    assert "PPO went 63 % of the way from SFT to that ceiling (95 % interval 55 % to 71 %)" in text
    assert "Another shop: dbn +0.322 +0.272 to +0.372 84 % 77 % to 91 %" in text
    assert "Cycle 38: unique share was 0.470, its limit is 0.500; the training ended there." in text


def test_the_checkers_own_marks_are_shown_where_the_run_holds_them(run: Path) -> None:
    def change(samples: list[dict[str, Any]]) -> None:
        bad = {"start": 8, "end": 24, "supported": False}
        samples[1]["sft_claims"] = [bad, {"start": 29, "end": 42, "supported": True}]

    alter(run, "ppo/samples.json", change)
    html = report_of(run)
    said = '<mark class="bad">noise cancelling</mark> and <mark>40 mm drivers</mark> here.'
    assert f"<del>You get {said}</del>" in html


def test_a_run_of_before_these_measures_is_shown_without_them(run: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        del metrics["sft"]["writing"], metrics["sft"]["tasks"], metrics["ppo"]["training"]
        for name in ("writing", "best_of", "held_out_shop", "distinct2_kept"):
            del metrics["ppo"][name]

    alter(run, "metrics.json", change)
    for name in ("samples.json", "task_samples.json"):
        (run / "sft" / name).unlink()
    text = well_formed(report_of(run)).text
    assert "Not run yet: the measure of supervised training" in text
    assert "Distinct word pairs 21.3 % 18.7 % –" in text
    for gone in ("Texts to read", "Task:", "ceiling", "In shops that no training saw", "Alarms"):
        assert gone not in text
    assert "not shown" not in text


def test_a_broken_inner_part_does_not_take_its_stage_with_it(run: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        metrics["ppo"]["best_of"]["share"] = "half"
        metrics["sft"]["writing"]["figures"]["veto_rate"] = [1]

    alter(run, "metrics.json", change)
    text = well_formed(report_of(run)).text
    assert "metrics.json: ppo.best_of: share:" in text
    assert "metrics.json: sft.writing: figures.veto_rate:" in text
    assert "Worth of a reason 0.792 1.174" in text
    assert "Texts to read" in text


@pytest.mark.parametrize(
    ("marks", "pieces_found"),
    [
        ([], [("a light hub", "")]),
        ([(2, 7, True)], [("a ", ""), ("light", "good"), (" hub", "")]),
        ([(8, 11, False), (0, 1, True)], [("a", "good"), (" light ", ""), ("hub", "bad")]),
        # Out of the text, empty, turned round, or inside one before it: left out.
        ([(9, 12, True), (3, 3, True), (5, 2, True), (-1, 1, True)], [("a light hub", "")]),
        ([(2, 11, True), (4, 7, False)], [("a ", ""), ("light hub", "good")]),
    ],
)
def test_marks_cut_a_text_at_its_claims(
    marks: list[tuple[int, int, bool]], pieces_found: list[tuple[str, str]]
) -> None:
    claims = [Mark(start=a, end=b, supported=supported) for a, b, supported in marks]
    assert marked_claims("a light hub", claims) == pieces_found


def test_supported_claims_are_marked_and_vetoed_texts_crossed_out(run: Path) -> None:
    html = report_of(run)
    assert "With <mark>two-day battery</mark> and <mark>weighs 90 g</mark>, it suits" in html
    assert "<del>You get noise cancelling and 40 mm drivers here.</del>" in html
    assert "<b>Vetoed:</b> unsupported claim: noise cancelling." in html
    assert "Shown instead: <mark>40 mm drivers</mark>." in html


@pytest.mark.parametrize(
    ("text", "phrases", "marked"),
    [
        ("It weighs 90 g, really.", ["weighs 90 g"], ["weighs 90 g"]),
        ("WEIGHS  90 g!", ["weighs 90 g"], ["WEIGHS  90 g"]),
        ("lightning and light", ["light"], ["light"]),
        ("USB Type-C hub", ["usb", "usb type-c"], ["USB Type-C"]),
        ("续航两天，很轻。", ["续航两天"], ["续航两天"]),
        ("a.b costs 1.5", ["a+b", ".*"], []),
        ("nothing", [], []),
        ("nothing", ["", "?!"], []),
    ],
)
def test_pieces_find_whole_phrases_and_lose_nothing(
    text: str, phrases: list[str], marked: list[str]
) -> None:
    found = pieces(text, phrases)
    assert "".join(piece for piece, _ in found) == text
    assert [piece for piece, ours in found if ours] == marked


def test_moves_of_a_shelf() -> None:
    a, b, c, d = (Card(item_id=name, title=name) for name in "abcd")
    assert moves([a, b, c], [c, d, b]) == [("up", 2), ("new", 0), ("down", 1)]
    assert moves([a], [a]) == [("same", 0)]


# --- Missing and broken parts -----------------------------------------------------------------
