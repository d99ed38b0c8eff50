"""README and docs say what the records say: tables between markers, phrases, and no other measured number in README."""

import json
import re
import shutil
import tomllib

import pytest
from forked import ROOT, assert_usage_error

from experiments.process.errors import UsageError
from experiments.record.manifest import read_manifest
from experiments.record.quote.forms import digits
from experiments.record.quote.pages import pages, rewritten
from experiments.record.quote.phrases import NUMBERS, Phrase, read_phrases
from experiments.record.quote.tables import TABLES

RESULTS = ROOT / "experiments" / "results"
README = ROOT / "README.md"
LISTED = tomllib.loads((ROOT / NUMBERS).read_text())
# Not within a word, as in ResNet-18, float32 or da97ee3.
NUMBER = re.compile(r"(?<![\w.,^])(?<![A-Za-z]-)\d+(?:,\d{3})*(?:\.\d+)*(?!\w)")


def outside_code(text):
    """With blanks in the place of code, of the targets of links and of comments."""
    code = r"```.*?```|`[^`]*`|(?<=\])\([^)]*\)|<!--.*?-->"
    return re.sub(code, lambda found: re.sub(r"\S", " ", found[0]), text, flags=re.DOTALL)


def places(text, phrase):
    """Where a phrase is in a text, line breaks aside."""
    found = re.finditer(r"\s+".join(map(re.escape, phrase.split())), text)
    return [match.span() for match in found]


@pytest.mark.parametrize("page", pages(ROOT), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_say_what_the_records_say(page):
    assert rewritten(ROOT, page) == page.read_text(), "python -m experiments.record --pages"


def unfounded(page, numbers, listed):
    """What of these numbers a page has in no phrase and in none of these texts."""
    text, name = page.read_text(), page.relative_to(ROOT).as_posix()
    covered = [span for phrase in read_phrases(ROOT) if phrase.page == name for span in phrase.spans(text)]
    covered += [span for other in listed for span in places(text, other)]
    return [
        f"{name}: {found[0]} in: {text[max(0, found.start() - 60) : found.end() + 30]!r}"
        for found in numbers.finditer(outside_code(text).replace("\n", " "))
        if not any(start <= found.start() and found.end() <= end for start, end in covered)
    ]


def test_every_number_of_readme_has_a_record_or_is_none():
    """A number is measured by a record, or listed as something else, with the reason."""
    listed = [text for given in LISTED["given"] for text in given["texts"]]
    assert not [text for text in listed if not places(README.read_text(), text)]
    assert not unfounded(README, NUMBER, listed)


# By its unit; an interval's share is none.
MEASURED = re.compile(rf"{NUMBER.pattern}(?= (?:times|%|ms|points)(?![\w%]))(?! % interval)")
NOT_MEASURED = {
    "a setting": ["top 5 %", "random 5 %", "5 % of the units", "5 % active", "(2.5 %, as in VCAS)", "3.2 % of exact"],
    "another publication": ["why 10.3 %?"],
    "read off a table of results": ["4 to 8 % of its roofline", "at most 0.3 %", "1.9 to 4.5 times as much"],
    "said to be not recorded": ["3.4 ms for one seed on an H100 and 4.6 ms a seed"],
}


def test_what_other_pages_say_was_measured_has_a_record():
    """README is held to more, and the page of results quotes studies of old that have no record."""
    others = [page for page in pages(ROOT) if page.name not in ("README.md", "results.md")]
    listed = [text for texts in NOT_MEASURED.values() for text in texts]
    assert not [text for text in listed if not any(places(page.read_text(), text) for page in others)]
    assert not [said for page in others for said in unfounded(page, MEASURED, listed)]


def test_commands_of_readme_are_those_of_records():
    """Where a result stands beside a command, a record is made, or was made, by it; `--out` aside."""
    known = {command for entry in read_manifest(ROOT).values() for command in entry.commands}
    known |= {c for path in RESULTS.rglob("record.json") for c in json.loads(path.read_text())["commands"]}
    known = {re.sub(r" --out \S+", "", command) for command in known}
    rows = [line for line in README.read_text().splitlines() if line.startswith("|")]
    quoted = re.findall(r"`(python -m experiments\.[^`]*)`", "\n".join(rows))
    assert len(quoted) > 5 and {re.sub(r" --out \S+", "", command) for command in quoted} <= known


def test_a_wrong_number_is_put_right(tmp_path, forked):
    """By the program: in a table and in a phrase, and nothing else changes."""
    for page in pages(ROOT):
        (tmp_path / page.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(page, tmp_path / page.relative_to(ROOT))
    shutil.copy(ROOT / NUMBERS, tmp_path / NUMBERS)
    shutil.copytree(ROOT / "experiments" / "record", tmp_path / "experiments" / "record")
    (tmp_path / "experiments" / "results").symlink_to(RESULTS)
    for name, right, wrong in (("README.md", "exact 85.9 ±", "exact 95.9 ±"), ("docs/results.md", "| 85.9 ±", "| 8 ±")):
        page = tmp_path / name
        assert page.read_text().count(right) == 1
        page.write_text(page.read_text().replace(right, wrong))
    assert forked.run("experiments.record", "--pages", "--repository", str(tmp_path)).returncode == 0
    for page in pages(ROOT):
        assert (tmp_path / page.relative_to(ROOT)).read_text() == page.read_text()
    (tmp_path / "README.md").write_text("<!-- record: sweep magic -->\n<!-- end -->\n")
    process = forked.run("experiments.record", "--pages", "--repository", str(tmp_path))
    assert_usage_error(process, "<!-- record: sweep magic -->")


def test_phrases_follow_line_breaks_and_must_be_there_once(tmp_path):
    (tmp_path / "one").mkdir()
    rows = ({"method": "mc", "seed": seed, "epoch": 1, "test_accuracy": (90 + seed) / 100} for seed in (0, 1))
    (tmp_path / "one" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    phrase = Phrase("mc has {mean one mc|.1f} % (of {mean one mc|.0f})")
    assert phrase.rewritten("So mc\nhas 1,234 % (of\n3).", tmp_path) == "So mc\nhas 90.5 % (of\n90)."
    for text in ("mc has much", "mc has 1 % (of 1), mc has 1 % (of 1)"):
        with pytest.raises(UsageError, match="must have once"):
            phrase.rewritten(text, tmp_path)
    for wrong in ("{magic one mc|.1f}", "{mean one alsh|.1f}", "{mean two mc|.1f}", "{mean one|.1f}"):
        with pytest.raises(UsageError, match=re.escape(wrong[1:-5])):
            Phrase(wrong).values(tmp_path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.062, "0.062"),
        (1.0, "1.0"),
        (9.96, "10"),
        (13.2, "13"),
        (1234.0, "1,234"),
        (6e-4, "6.0e-4"),
        (0.1, "0.10"),
        (99.7, "100"),
        (0.0996, "0.10"),
    ],
)
def test_two_digits(value, said):
    assert digits(value) == said


def test_all_tables_are_used():
    text = "".join(page.read_text() for page in pages(ROOT))
    assert set(TABLES) == {marker.split()[-1] for marker in re.findall(r"<!-- record: (.*?) -->\n", text)}
