"""Links as GitHub takes them, from a file of the repository to another, made links from page to page of the site."""

import posixpath
import re
from pathlib import Path

import markdown_links
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

# Code in a block, which is skipped, or a public name in backticks, with what it may be called with.
_BLOCK = r"(^ *(```+|~~~+).*?^ *\2 *$)"
_NAME = re.compile(_BLOCK + r"|(?<![`\[])`(jaxapprox(?:\.\w+)+)(\([^`\n]*\))?`(?!`)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^# `(jaxapprox\.\w+)`$", re.MULTILINE)
_SOURCE = re.compile(r'href="source:([^"#]+)#L(\d+)"')


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads links to the pages that files have become, and public names to the reference, whose headings they are."""
    if page.file.src_uri.startswith("source/"):
        return markdown
    uris = {file.abs_src_path: file.src_uri for file in files if file.abs_src_path}
    here = Path(page.file.abs_src_path or "")

    def in_site(target: str) -> str:
        path = markdown_links.path_of(target, here)
        if path is None or str(path) not in uris:
            return target  # another site, or MkDocs says that it leads nowhere
        uri = posixpath.relpath(uris[str(path)], posixpath.dirname(page.file.src_uri) or ".")
        return uri + target[len(target.partition("#")[0]) :]

    anchored = _HEADING.sub(r"# \1 {#\1}", markdown_links.replaced(markdown, in_site))
    return _NAME.sub(_to_reference, anchored)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads an object of the reference to its line in the page of its source."""

    def to_line(match: re.Match[str]) -> str:
        file = files.get_file_from_path(f"source/{match[1]}.md")
        if file is None:
            raise PluginError(f"{page.file.src_uri}: there is no source file {match[1]}")
        return f'href="{file.url_relative_to(page.file)}#__codelineno-0-{match[2]}"'

    return _SOURCE.sub(to_line, html)


def _to_reference(match: re.Match[str]) -> str:
    name, call = match[3], match[4] or ""
    return f'<autoref identifier="{name}" optional><code>{name}{call}</code></autoref>' if name else match[0]
