"""Files from outside docs/ as parts of the site: pages of the root, the library's source, and what pages link to."""

from collections.abc import Iterator
from pathlib import Path

import markdown_links
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_PICTURES = {".png", ".svg"}
_LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".sh": "bash"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the root, a page for each source file of the library, and the files that pages link to."""
    root = Path(config.config_file_path).parent
    for name, uri in ROOT_PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(root / name)))
    paths = {*(root / "jaxapprox").rglob("*.py"), *_linked(files, root)}
    for path in sorted(paths - {Path(file.abs_src_path) for file in files if file.abs_src_path}):
        name = path.relative_to(root).as_posix()
        uri = name if path.suffix in _PICTURES else f"source/{name}.md"
        files.append(File.generated(config, uri, abs_src_path=str(path), inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    """A source file as a page: its lines, numbered, which the search leaves out."""
    if not page.file.src_uri.startswith("source/"):
        return None
    path = Path(page.file.abs_src_path or "")
    name = path.relative_to(Path(config.config_file_path).parent).as_posix()
    language = _LANGUAGES.get(path.suffix, "text")
    head = f'---\ntitle: "{name}"\nhide: [toc]\nsearch:\n  exclude: true\n---\n# `{name}`\n'
    return f'{head}\n~~~~~~{{.{language} linenums="1"}}\n{path.read_text()}\n~~~~~~\n'


def _linked(files: Files, root: Path) -> Iterator[Path]:
    """The files of the repository that its pages link to."""
    for file in files.documentation_pages():
        for target in markdown_links.targets(Path(file.abs_src_path or "").read_text()):
            path = markdown_links.path_of(target, Path(file.abs_src_path or ""))
            if path is not None and path.is_file() and path.is_relative_to(root):
                yield path
