"""`figure` and `report`: files that show a run, whatever its texts are."""

import html.parser
import re
import struct
import sys
import xml.etree.ElementTree as ET

import pytest

SVG = "{http://www.w3.org/2000/svg}"
NASTY = "<script>alert('$x^$')</script> \x1b[31m & \"more\""


def points(svg: str, colour: str) -> int:
    """How many markers of a colour a figure has, those of its legend left out."""
    root = ET.fromstring(svg)
    collections = [
        group for group in root.iter(f"{SVG}g")
        if group.get("id", "").rpartition("-")[2].startswith("PathCollection")
    ]  # fmt: skip
    legend = {
        use
        for group in root.iter(f"{SVG}g")
        if group.get("id", "").rpartition("-")[2].startswith("legend")
        for use in group.iter(f"{SVG}use")
    }
    uses = [use for group in collections for use in group.iter(f"{SVG}use") if use not in legend]
    return sum(colour in use.get("style", "").lower() for use in uses)


class Page(html.parser.HTMLParser):
    """What a report holds: its tags with their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.said += data


@pytest.fixture
def import_nasty(oracle_tui, tmp_path):
    def make():
        table = tmp_path / "a&b.csv"
        table.write_text("pruned_train_loss,test_acc\n0.1,0.9\n0.2,0.95\n0.3,0.8\n0.4,0.7\n")
        done = oracle_tui("import", str(table), "--model", NASTY, "--dataset", "$d_1$")
        assert done.code == 0, done.err
        return done.out.strip()

    return make


def test_an_svg_has_every_candidate_and_marks_the_anomalies(oracle_tui, make_run, tmp_path):
    run = make_run()
    out = tmp_path / "figure.svg"
    answer = oracle_tui("figure", run.name, "--out", str(out))
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    svg = out.read_text()
    assert points(svg, "#009e73") == 44
    assert points(svg, "#d55e00") == 1
    shown = oracle_tui("show", run.name, "--json").json
    tau, p = shown["kendall_tau_acc"], shown["kendall_p_acc"]
    title = " ".join(text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text"))
    assert f"Kendall's tau {tau:+.2f} [" in title
    assert f"p = {p:.1e}, n = 45" in title
    assert "LeNet5-Mini · mnist-5k · conv1 · 0.2" in title
    assert "pruned train loss" in title
    assert "best test accuracy" in title


def test_loss_is_drawn_the_other_way_round(oracle_tui, make_run, tmp_path):
    out = tmp_path / "loss.svg"
    assert oracle_tui("figure", make_run().name, "-o", str(out), "--outcome", "loss").code == 0
    svg = out.read_text()
    assert points(svg, "#d55e00") == 1
    assert "best test loss" in svg
    assert "below the oracle, 2.2 %" in svg


def test_png_and_pdf(oracle_tui, make_run, tmp_path):
    run = make_run()
    for ending in ("png", "PDF"):
        assert oracle_tui("figure", run.name, "-o", str(tmp_path / f"f.{ending}")).code == 0
    png = (tmp_path / "f.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (1120, 880)
    assert (tmp_path / "f.PDF").read_bytes().startswith(b"%PDF-1.")


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_the_same_run_gives_the_same_bytes(oracle_tui, make_run, tmp_path, kind):
    run = make_run()
    files = [tmp_path / f"{name}.{kind}" for name in "ab"]
    for file in files:
        oracle_tui("figure", run.name, "-o", str(file))
    assert files[0].read_bytes() == files[1].read_bytes()


def test_several_runs_are_drawn_as_taus_with_intervals(oracle_tui, make_run, tmp_path):
    names = [make_run({"dataset": "mnist"}).name, make_run({"wiring": "released"}).name,
             make_run({"seed": "1"}, finished=0, status="stopped").name]  # fmt: skip
    out = tmp_path / "taus.svg"
    assert oracle_tui("figure", *names, "-o", str(out)).code == 0
    said = [text.text for text in ET.parse(out).iter(f"{SVG}text")]
    assert "LeNet5-Mini · mnist · conv1 · 0.2, correct (n 45)" in said
    assert "LeNet5-Mini · mnist-5k · conv1 · 0.2, released (n 45)" in said
    assert "LeNet5-Mini · mnist-5k · conv1 · 0.2, correct (n 0)" in said
    assert {"this run", "published"} <= set(said)
    refused = oracle_tui("figure", *names, "-o", str(out), "--outcome", "loss")
    assert (refused.code, "leave --outcome away" in refused.err) == (2, True)
    nothing = make_run({"seed": "2"}, finished=0, status="stopped").name
    refused = oracle_tui("figure", names[2], nothing, "-o", str(out))
    assert (refused.code, "needs one" in refused.err) == (2, True)


def test_a_live_run_is_drawn_as_far_as_it_is(oracle_tui, make_run, tmp_path):
    run = make_run(finished=10, status="stopped")
    out = tmp_path / "f.svg"
    assert oracle_tui("figure", run.name, "-o", str(out)).code == 0
    assert points(out.read_text(), "#009e73") == 9


@pytest.mark.parametrize("name", ["figure", "figure.gif", ".svg", "figure.svg.gz"])
def test_only_known_endings(oracle_tui, make_run, tmp_path, name):
    answer = oracle_tui("figure", make_run().name, "-o", str(tmp_path / name))
    assert (answer.code, answer.out) == (2, "")
    assert "ending in .pdf, .svg, .png" in answer.err
    assert not list(tmp_path.iterdir())


def test_nothing_to_draw(oracle_tui, make_run, tmp_path):
    run = make_run(finished=0, status="stopped")
    answer = oracle_tui("figure", run.name, "-o", str(tmp_path / "f.svg"))
    assert answer.code == 2
    assert "no finished candidate" in answer.err


@pytest.mark.parametrize("command", [("figure", "-o", "f.svg"), ("report", "-o", "f.html")])
def test_without_the_extra_it_says_how_to_get_it(
    oracle_tui, make_run, tmp_path, monkeypatch, command
):
    run = make_run()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    answer = oracle_tui(*command, run.name)
    assert (answer.code, answer.out) == (2, "")
    assert "pip install 'oracle-tui[figure]'" in answer.err
    assert answer.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_report_of_one_run(oracle_tui, make_run, tmp_path):
    run = make_run({"dataset": "mnist", "repeats": "2"}, finished=90)
    out = tmp_path / "report.html"
    answer = oracle_tui("report", run.name, "-o", str(out))
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    found = Page(out.read_text())
    shown = oracle_tui("show", run.name, "--json").json
    for expected in (
        run.name,
        "By accuracy: Oracle pruning holds here",
        "By loss: ",
        f"{shown['kendall_tau_acc']:+.3f} (n 45",
        "by bootstrap",
        "p, filters renamed",
        "share filters",
        "repeats agree with tau +1.000",
        "0.0500 of accuracy below the best; the oracle is number 2 of 45",
        "conv102_lr2",
        "Scores as predictors of accuracy",
        "wiring correct, theirs released",
        "conv1 without 0,1",
        "15 ep, 0.01 -> 0.001@10, wd 0.0001",
        shown["spec_hash"],
    ):
        assert expected in found.said, expected
    assert sum(tag == "svg" for tag, _ in found.tags) == 2


def test_a_report_needs_nothing_from_anywhere(oracle_tui, make_run, import_nasty, tmp_path):
    out = tmp_path / "report.html"
    names = [make_run().name, make_run({"wiring": "released"}).name, import_nasty()]
    assert oracle_tui("report", *names, "-o", str(out)).code == 0
    source = out.read_text()
    found = Page(source)
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "link", "img", "iframe", "a"})
    for _, attributes in found.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href"):
                assert value is not None
                assert value.startswith("#")
    assert "@import" not in source
    assert not re.search(r"url\((?!#)", source)
    assert "default-src 'none'" in source
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert "tau released minus correct" in found.said
    for name in names:
        assert name in found.said


def test_texts_from_files_are_only_text(oracle_tui, import_nasty, tmp_path):
    name = import_nasty()
    out, picture = tmp_path / "report.html", tmp_path / "f.svg"
    assert oracle_tui("report", name, "-o", str(out)).code == 0
    assert oracle_tui("figure", name, "-o", str(picture)).code == 0
    source = out.read_text()
    assert "<script" not in source
    assert "\x1b" not in source
    assert "<script>alert('$x^$')</script>" in Page(source).said
    drawn = " ".join(text.text or "" for text in ET.parse(picture).iter(f"{SVG}text"))
    assert "$d_1$" in drawn


def test_a_run_without_results_is_reported_too(oracle_tui, make_run, tmp_path):
    out = tmp_path / "report.html"
    run = make_run(finished=0, status="stopped")
    assert oracle_tui("report", run.name, "-o", str(out)).code == 0
    found = Page(out.read_text())
    assert "Nothing to judge yet" in found.said
    assert "nan" not in found.said.lower()


def test_a_report_that_cannot_be_written(oracle_tui, make_run, tmp_path):
    answer = oracle_tui("report", make_run().name, "-o", str(tmp_path / "no" / "r.html"))
    assert answer.code == 2
    assert "cannot be written" in answer.err
