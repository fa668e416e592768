"""The report shows the run's own figures, escapes what others wrote, and bears missing parts."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from envs.errors import UserError
from envs.files import read_json, write_json
from experiments.charts import Bar, Series, forest_plot, line_chart, ticks
from experiments.report import moves, pieces, write_report
from experiments.report_parts import Card, Interval, Mark, Paired
from experiments.report_words import decimals_for, number, percent
from experiments.report_writing import marked_claims
from tests.experiments import report_run

VOID = {"meta", "link", "br", "hr", "img", "input"}


class _Page(HTMLParser):
    """Reads a page: the tags that do not pair up, its links, ids and what it says."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag not in ("mark", "b", "del"):
            self.words.append(" ")
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\u00a0", " ").split())


def _report(run: Path) -> str:
    out = run.parent / "report.html"
    write_report(run, out)
    return out.read_text(encoding="utf-8")


def _well_formed(html: str) -> _Page:
    page = _Page(html)
    assert page.wrong == []
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    return page


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return report_run.write_run(tmp_path / "fixture")


def _change(run: Path, file: str, change: Callable[[Any], None]) -> None:
    value = read_json(run / file)
    change(value)
    write_json(run / file, value)


# --- The whole page ---------------------------------------------------------------------------


def test_a_finished_run_makes_one_sound_self_contained_page(run: Path) -> None:
    html = _report(run)
    page = _well_formed(html)
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
    assert _report(run) == _report(run)


def test_figures_are_those_of_the_run(run: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        ranker = metrics["simulate"]["policies"]["ranker"]
        ranker["return"] = {"mean": 11.2345, "low": 11.1166, "high": 11.3524}
        ranker["ctr"] = {"mean": 0.12345, "low": 0.1210, "high": 0.1259}

    _change(run, "metrics.json", change)
    text = _well_formed(_report(run)).text
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
    html = _report(run)
    table = html[html.index("Mean per session") : html.index("Paired differences")]
    shown = re.findall(
        r'<th scope="row">(.*?)</th>\s*<td><b>\s*([\d.]+)', re.sub(r"\n\s*", "", table)
    )
    returns = [float(value) for _, value in shown]
    assert len(returns) == 11
    assert returns == sorted(returns, reverse=True)
    assert shown[0][0] == "Oracle"


# --- Plain words ------------------------------------------------------------------------------


def _with_headline(run: Path, diff: float, low: float, high: float) -> str:
    def change(metrics: dict[str, Any]) -> None:
        pairs = metrics["simulate"]["paired"]
        pairs[0] |= {"diff": diff, "low": low, "high": high}

    _change(run, "metrics.json", change)
    html = _report(run)
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
    before = _report(run)

    def turn(metrics: dict[str, Any]) -> None:
        one = metrics["simulate"]["paired"][0]
        metrics["simulate"]["paired"][0] = {
            "a": one["b"], "b": one["a"], "metric": "return",
            "diff": -one["diff"], "low": -one["high"], "high": -one["low"],
        }  # fmt: skip

    _change(run, "metrics.json", turn)
    after = _report(run)
    pattern = r'<p class="summary">.*?</p>|<svg class="chart".*?</svg>'
    assert re.findall(pattern, after, re.DOTALL) == re.findall(pattern, before, re.DOTALL)


@pytest.mark.parametrize(("share", "said"), [(0.99, "; 99.0 % of"), (0.97, "; but only 97.0 % of")])
def test_poor_precision_is_not_passed_off_as_good(run: Path, share: float, said: str) -> None:
    def change(metrics: dict[str, Any]) -> None:
        metrics["ppo"]["claim_precision_after"] = share

    _change(run, "metrics.json", change)
    assert f"{said} its claims are supported by the item." in _well_formed(_report(run)).text


def test_what_got_worse_is_said(run: Path) -> None:
    text = _well_formed(_report(run)).text
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
        _change(run, "metrics.json", change)
        text = _well_formed(_report(run)).text
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

    _change(run, "simulate/shelves.json", lambda found: card(found[0]))
    vetoed = {"title": evil, "sft": evil, "ppo": evil, "fallback": evil, "sft_veto": evil}
    facts = {"facts": [[evil, "alert"]], "likes": [evil]}
    _change(run, "ppo/samples.json", lambda found: found[0].update(vetoed | facts))
    _change(run, "metrics.json", figures)
    sample = {"title": evil, "likes": [evil], "facts": [[evil, evil]], "text": evil, "veto": evil}
    marks = [{"start": 0, "end": 8, "supported": True}, {"start": 9, "end": 20, "supported": False}]
    write_json(run / "sft" / "samples.json", [sample | {"claims": marks, "other_text": evil}])
    told = {evil: [dict.fromkeys(("prompt", "text", "reference", "rules"), evil)]}
    write_json(run / "sft" / "task_samples.json", told)
    rows = [{"step": 1, evil: 2.0}, {"step": 2, evil: 3.0}]
    write_json(run / "sft" / "curve.json", {evil: rows})
    config = {"name": evil, "config": {"seed": 7, evil: evil}, "version": evil}
    write_json(run / "run.json", config)

    html = _report(run)
    page = _well_formed(html)
    assert not re.search(r"<\s*(script|img)", html, re.IGNORECASE)
    assert not any("onerror" in (link or "") for link in page.links)
    assert "<script>" in page.text
    assert html.count("&lt;script&gt;") > 25
    # A mark that would turn the rest of its line around is shown by its code instead.
    assert "\u202e" not in html
    assert page.text.count("[U+202E]gnp.exe") > 25


def test_the_writing_is_shown_beside_its_floors(run: Path) -> None:
    html = _report(run)
    text = _well_formed(html).text
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
    text = _well_formed(_report(run)).text
    assert "Task: review summary" in text
    assert "ROUGE-L F1, % 58.4 21.5 18.2 61.0 –" in text
    assert "counts equal the reviews' 0.970 0.950 to 0.990 – – 1.00 1.00" in text
    assert "reviews | light -> Pros: light (3). Pros: light (3), price (2). Pros: light." in text


def test_ppo_stands_beside_its_ceiling_and_the_other_shops(run: Path) -> None:
    html = _report(run)
    text = _well_formed(html).text
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

    _change(run, "ppo/samples.json", change)
    html = _report(run)
    said = '<mark class="bad">noise cancelling</mark> and <mark>40 mm drivers</mark> here.'
    assert f"<del>You get {said}</del>" in html


def test_a_run_of_before_these_measures_is_shown_without_them(run: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        del metrics["sft"]["writing"], metrics["sft"]["tasks"], metrics["ppo"]["training"]
        for name in ("writing", "best_of", "held_out_shop", "distinct2_kept"):
            del metrics["ppo"][name]

    _change(run, "metrics.json", change)
    for name in ("samples.json", "task_samples.json"):
        (run / "sft" / name).unlink()
    text = _well_formed(_report(run)).text
    assert "Not run yet: the measure of supervised training" in text
    assert "Distinct word pairs 21.3 % 18.7 % –" in text
    for gone in ("Texts to read", "Task:", "ceiling", "In shops that no training saw", "Alarms"):
        assert gone not in text
    assert "not shown" not in text


def test_a_broken_inner_part_does_not_take_its_stage_with_it(run: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        metrics["ppo"]["best_of"]["share"] = "half"
        metrics["sft"]["writing"]["figures"]["veto_rate"] = [1]

    _change(run, "metrics.json", change)
    text = _well_formed(_report(run)).text
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
    html = _report(run)
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


def _delete(*names: str) -> Callable[[Path], None]:
    def delete(run: Path) -> None:
        for name in names:
            if name.endswith(".json"):
                (run / name).unlink()
            else:
                shutil.rmtree(run / name, ignore_errors=True)
                metrics = read_json(run / "metrics.json")
                metrics.pop(name, None)
                metrics["seconds"].pop(name, None)
                write_json(run / "metrics.json", metrics)

    return delete


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (("catalogue",), "the catalogue"),
        (("sft",), "the curve of supervised training"),
        (("ppo",), "the comparison of reasons"),
        (("rank",), "the curve of the ranker's training"),
        (("simulate",), "the comparison of policies"),
        (("ope",), "the offline evaluation"),
        (("simulate/shelves.json",), "the shelves"),
        (
            ("reasons", "export", "run.json", "ppo/samples.json", "ppo/curve.json"),
            "the curve of PPO",
        ),
    ],
)
def test_a_missing_part_is_named_in_its_place(
    run: Path, missing: tuple[str, ...], said: str | None
) -> None:
    _delete(*missing)(run)
    text = _well_formed(_report(run)).text
    if said is None:
        assert "Not run yet" not in text
        assert "The run folder holds no settings." in text
    else:
        assert f"Not run yet: {said}" in text
    assert "not shown" not in text


def test_a_run_that_has_only_begun_says_so_everywhere(tmp_path: Path) -> None:
    run = tmp_path / "begun"
    write_json(run / "metrics.json", {"seconds": {}, "warnings": []})
    counts = write_report(run, tmp_path / "report.html")
    assert counts["missing"] == 8
    text = _well_formed((tmp_path / "report.html").read_text()).text
    assert "This run has not come to a result yet" in text
    assert "begun" in text
    assert "Warnings None." in text
    assert text.count("Not run yet") >= 10


def test_parts_with_missing_fields_are_shown_as_far_as_they_go(run: Path) -> None:
    metrics = {
        "catalogue": {"items": 3},
        "ppo": {"reward_after": 0.5, "held_out_gain": 0.25},
        "reasons": {"ppo": {}, "seconds": 3.0},
        "simulate": {"policies": {"similarity": {"return": {"mean": 2.0}}, "random": {}}},
        "ope": {"truth": None, "estimates": [{"estimator": "IPS", "value": None}]},
        "export": {},
    }
    write_json(run / "metrics.json", metrics)
    text = _well_formed(_report(run)).text
    assert (
        "not shown"
        not in text.replace("is not of the run's present settings", "").split("Warnings")[0]
    )
    assert "Similarity shelf 2.0" in text
    assert "Gain in the held-out shop: +0.250" in text


def test_stage_records_stand_in_for_missing_metrics(run: Path) -> None:
    (run / "metrics.json").unlink()
    text = _well_formed(_report(run)).text
    assert "The RL ranker earns 4.74 more per session" in text
    assert "ppo 121.9 s" in text


def test_a_stage_of_other_settings_is_left_out_and_named(run: Path) -> None:
    def change(metrics: dict[str, Any]) -> None:
        del metrics["ppo"], metrics["seconds"]["ppo"]

    _change(run, "metrics.json", change)
    text = _well_formed(_report(run)).text
    assert "ppo: this folder is not of the run's present settings" in text
    assert "Norvik N2 headphones" not in text
    assert "PPO reward" not in text


def test_the_reports_own_earlier_folder_is_no_problem(run: Path) -> None:
    write_json(run / "report" / "stage.json", {"status": "done"})
    write_json(run / ".sft.abcd1234" / "stage.json", {"status": "done"})
    assert write_report(run, run.parent / "report.html")["warnings"] == 1


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("simulate/shelves.json", "[{]", "simulate/shelves.json: no readable JSON"),
        ("ppo/samples.json", '[{"title": 3}]', "ppo/samples.json: 0.title: Input should be"),
        ("ppo/curve.json", '"?"', "ppo/curve.json: "),
        ("sft/stage.json", "[]", "stage.json: : Input should be"),
    ],
)
def test_a_broken_part_is_named_and_the_rest_is_shown(
    run: Path, file: str, content: str, said: str
) -> None:
    (run / file).write_text(content)
    text = _well_formed(_report(run)).text
    assert said in text.split("Warnings", 2)[-1]
    assert "The RL ranker earns 4.74 more per session" in text


def test_odd_rows_of_a_curve_are_left_out(run: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"cycle": 1, "reward": None, "note": "text"},
        {"cycle": 2, "reward": 0.5, "flag": True},
    ]
    write_json(run / "ppo" / "curve.json", rows)
    (run / "rank" / "curve.json").write_text('[{"iteration": 1, "return_topk": NaN}]')
    html = _report(run)
    page = _well_formed(html)
    assert "PPO reward, by cycles: reward goes from 0.5 to 0.5" in html
    assert "PPO note" not in page.text
    assert "PPO flag" not in page.text
    assert "NaN" not in html
    assert "nan" not in re.findall(r'points="[^"]*"', html)


def test_a_folder_without_a_run_is_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=rf"{folder}: no run to report.*shelftalk run CONFIG"):
            write_report(folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_broken_metrics_are_one_clear_line(run: Path, content: str) -> None:
    (run / "metrics.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"metrics\.json: .*run the pipeline again") as caught:
        write_report(run, run.parent / "report.html")
    assert "\n" not in str(caught.value)


# --- Numbers and charts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "text"),
    [
        (1234567, None, False, "1,234,567"),
        (0.0, None, False, "0.00"),
        (1.2345, None, False, "1.23"),
        (123.45, None, False, "123"),
        (0.01234, None, False, "0.0123"),
        (-2.5, 1, False, "−2.5"),
        (2.5, 1, True, "+2.5"),
        (-0.001, 2, True, "0.00"),
        (3.1e-7, None, False, "3.10e−07"),
        (None, 2, False, "–"),
        (math.nan, 2, False, "–"),
        (math.inf, None, False, "–"),
    ],
)
def test_numbers(value: float | None, decimals: int | None, signed: bool, text: str) -> None:
    assert number(value, decimals, signed) == text


def test_percent_and_decimals() -> None:
    assert percent(0.12345) == "12.3\u00a0%"
    assert percent(None) == "–"
    # The narrowest interval, 0.04 wide, shows two digits of its width.
    assert decimals_for([Interval(low=0, high=3), Interval(low=1, high=1.04)]) == 3
    assert decimals_for([Interval()]) == 2


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.03, 0.51, [0.1, 0.2, 0.3, 0.4, 0.5]),
        (-3, 7, [-2, 0, 2, 4, 6]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, most=6) == pytest.approx(expected)


def _attributes(markup: str, tag: str, kind: str) -> list[dict[str, str]]:
    found = re.findall(rf'<{tag} class="{kind}[^"]*"[^>]*>', markup)
    return [dict(re.findall(r'(\w+)="([^"]*)"', one)) for one in found]


def test_a_line_goes_where_its_numbers_are() -> None:
    chart = line_chart(
        [Series("a", [0, 5, 10], [1, 3, 2], [0, 2, 1], [2, 4, 3])], title="T", x_label="steps"
    )
    points = [
        tuple(map(float, pair.split(",")))
        for pair in _attributes(chart, "polyline", "line")[0]["points"].split()
    ]
    assert [x for x, _ in points] == [0, 50, 100]
    first, top, last = (y for _, y in points)
    # Down is more, so the highest value has the least; differences keep their proportions.
    assert first - last == pytest.approx(last - top, abs=0.02)
    assert first > last > top
    assert len(_attributes(chart, "polygon", "band")[0]["points"].split()) == 6
    assert "lowest 1, highest 3" in chart


def test_a_line_of_one_point_and_a_level_line_can_be_drawn() -> None:
    for values in ([2.0], [0.0, 0.0], [1e-9, 1e-9]):
        chart = line_chart([Series("a", list(range(len(values))), values)], title="T", x_label="x")
        assert "nan" not in chart
        assert "inf" not in chart


def test_a_forest_plot_is_to_scale_and_hollow_where_it_covers() -> None:
    bars = [Bar("sure", 2, 1, 3, "2"), Bar("unsure", 0.5, -1, 2, "0.5")]
    plot = forest_plot(bars, title="T", reference=0, reference_label="none")
    sure, unsure = _attributes(plot, "line", "interval")
    assert sure["class"] == "interval clear"
    assert unsure["class"] == "interval covers"
    zero = float(_attributes(plot, "line", "reference")[0]["x1"][:-1])
    one, three, two = (float(end[:-1]) for end in (sure["x1"], sure["x2"], unsure["x2"]))
    assert two - zero == pytest.approx(2 * (one - zero), abs=0.05)
    assert three - zero == pytest.approx(3 * (one - zero), abs=0.05)
    assert "sure 2" in plot


def test_one_huge_interval_is_cut_off_and_does_not_squeeze_the_others() -> None:
    bars = [Bar("IPS", 50, -900, 1000, "50"), *(Bar(f"{n}", 1, 0.5, 1.5, "1") for n in range(3))]
    plot = forest_plot(bars, title="T", reference=1.0, reference_label="truth")
    widths = [
        float(line["x2"][:-1]) - float(line["x1"][:-1])
        for line in _attributes(plot, "line", "interval")
    ]
    assert min(widths) > 20
    assert plot.count('class="arrow"') == 2
    assert len(_attributes(plot, "circle", "point")) == 3


def test_charts_escape_their_text() -> None:
    evil = '<b>&"'
    plot = forest_plot([Bar(evil, 1, 0, 2, evil)], title=evil, reference=0, reference_label=evil)
    chart = line_chart([Series(evil, [0, 1], [0, 1])], title=evil, x_label=evil)
    for markup in (plot, chart):
        assert "<b>" not in markup
        assert "&lt;b&gt;&amp;&#34;" in markup


def test_a_difference_turned_twice_is_itself() -> None:
    one = Paired(a="x", b="similarity", metric="return", diff=1, low=0.5, high=2)
    turned = one.against("x")
    assert (turned.a, turned.b, turned.diff) == ("similarity", "x", -1)
    assert (turned.low, turned.high) == (-2, -0.5)
    assert turned.against("similarity") == one
    assert one.against("similarity") == one


def test_the_fixture_is_plain_json() -> None:
    assert json.loads(json.dumps(report_run.metrics(), allow_nan=False)) == report_run.metrics()
