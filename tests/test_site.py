"""The documentation site: what it is made of, and what comes out of a strict build."""

import html.parser
import importlib
import importlib.util
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
import yaml

import jaxapprox

ROOT = Path(__file__).parents[1]
CONFIG = yaml.load((ROOT / "mkdocs.yml").read_text(), yaml.BaseLoader)
ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PAGES = [*(ROOT / name for name in ROOT_PAGES), *sorted(ROOT.glob("docs/**/*.md"))]
FACES = ["jaxapprox", *(f"jaxapprox.{m.name}" for m in pkgutil.iter_modules(jaxapprox.__path__) if m.name != "_src")]
built_here = pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed: .[docs]")


def hook(name):
    """A module of the site's hooks."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "_hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(nav):
    """The pages of a nav, in order."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in leaves(part)]


def build(config, site, *options):
    command = [sys.executable, "-m", "mkdocs", "build", *options, "--config-file", config, "--site-dir", site]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


class Addresses(html.parser.HTMLParser):
    """What a page of HTML links to, what it loads, and the ids that it has."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.ids = [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if "href" in values:
            (self.loaded if tag == "link" else self.links).append(values["href"])
        self.loaded += [values[name] for name in ("src", "srcset", "data") if values.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that a strict build fills."""
    folder = tmp_path_factory.mktemp("site")
    process = build(ROOT / "mkdocs.yml", folder, "--strict")
    assert process.returncode == 0, process.stdout + process.stderr
    return folder


@pytest.fixture(scope="module")
def addresses(site):
    """By path, the addresses in each page."""
    return {path: Addresses(path) for path in sorted(site.rglob("*.html"))}


def test_every_page_is_in_the_nav_once():
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in PAGES if path.is_relative_to(ROOT / "docs")]
    assert sorted(leaves(CONFIG["nav"])) == sorted([*pages, *ROOT_PAGES.values()])


def test_every_public_module_has_a_page():
    shown = [name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)]
    assert sorted(shown) == sorted(FACES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_of_the_repository(page):
    links = hook("markdown_links")
    paths = [links.path_of(target, page) for target in links.targets(page.read_text())]
    assert [path for path in paths if path and not (path.is_file() and path.is_relative_to(ROOT))] == []


def test_code_is_no_link():
    text = "[a](x.md) `[b](y.md)`\n```python\n[c](z.md)\n```\n![d](w.png#e)"
    links = hook("markdown_links")
    assert list(links.targets(text)) == ["x.md", "w.png#e"]
    assert links.replaced(text, str.upper) == text.replace("x.md", "X.MD").replace("w.png#e", "W.PNG#E")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_load_nothing_from_elsewhere(page):
    assert re.findall(r"!\[[^]]*\]\(\w+://|<(?:script|link|iframe|img)\b", page.read_text()) == []


def test_the_theme_loads_nothing_from_elsewhere():
    assert CONFIG["theme"]["font"] == "false"
    assert [name for name in (*CONFIG["extra_css"], *CONFIG.get("extra_javascript", ())) if "//" in name] == []


@built_here
def test_public_names_are_found_by_the_search(site):
    documents = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    found = {document["location"].partition("#")[2] for document in documents}
    names = {f"{face}.{name}" for face in FACES for name in getattr(importlib.import_module(face), "__all__", ())}
    assert names - found == set()
    assert not any(document["location"].startswith("source/") for document in documents)


@built_here
def test_objects_lead_to_the_lines_that_define_them(site, addresses):
    """Each object of the reference has a link, and the line that it leads to is the object's, or its decorator's."""
    number = 0
    for page in sorted(site.glob("reference/*/index.html")):
        text = page.read_text()
        headings = re.findall(r'<h\d id="(jaxapprox\.[\w.]+)" class="doc doc-heading">', text)
        links = re.findall(r'<p class="doc-source"><a href="([^"]+)">', text)
        assert len(links) == len(headings) + 1  # and the module's own
        for name, link in zip(headings, links[1:], strict=True):
            target, _, anchor = link.partition("#")
            source = (page.parent / target / "index.html").resolve()
            assert anchor in addresses[source].ids
            lines = (ROOT / source.parent.relative_to(site / "source")).read_text().split("\n")
            line = lines[int(anchor.rpartition("-")[2]) - 1]
            assert re.search(rf"\b{name.rpartition('.')[2]}\b", line) or line.lstrip().startswith("@")
            number += 1
    assert number > 100


@built_here
def test_links_of_the_site_lead_somewhere(site, addresses):
    nowhere = []
    for page, found in addresses.items():
        for link in {*found.links, *found.loaded}:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or page.name == "404.html":
                continue
            target = (page.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (
                parts.fragment
                and target.suffix == ".html"
                and urllib.parse.unquote(parts.fragment) not in addresses[target].ids
            ):
                nowhere.append((page.relative_to(site).as_posix(), link))
    assert nowhere == []


@built_here
def test_the_site_loads_nothing_from_elsewhere(site, addresses):
    for found in addresses.values():
        assert [address for address in found.loaded if "//" in address and not address.startswith("data:")] == []
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text()) == []


@built_here
def test_docstrings_are_shown_as_they_are_meant(site):
    """Signs for TeX's commands, doctests as code, no quotations of them, and no name with its list as its type."""
    for page in site.glob("reference/*/index.html"):
        text = page.read_text()
        assert not re.search(r"\\(?:sum|otimes|sqrt|hat|Sigma|tr|leftarrow)\b", text)
        assert "<blockquote>" not in text and "&gt;&gt;&gt;</p>" not in text


@built_here
def test_links_that_lead_nowhere_are_refused(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", *ROOT_PAGES):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("jaxapprox", "experiments", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    links = ["no_page.md", "quick_start.md#no-heading", "../jaxapprox/no_file.py"]
    with (tmp_path / "docs" / "quick_start.md").open("a") as page:
        page.write("".join(f"\n[A link]({link}).\n" for link in links))
    process = build(tmp_path / "mkdocs.yml", tmp_path / "site", "--strict")
    assert process.returncode != 0
    assert [link for link in links if link.rpartition("#")[2] not in process.stderr] == []
