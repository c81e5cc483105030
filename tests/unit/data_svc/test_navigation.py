"""Navigation of pages goes, by the tool that made them; whatever a reader came for stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_svc.domain.formats import Format
from data_svc.worker.parsers import parse

HEADS = {
    "sphinx": "<script src='_static/sphinx_highlight.js'></script>",
    "docbook": "<meta name='generator' content='DocBook XSL Stylesheets V1.79.1'>",
    "publican": "<meta name='generator' content='publican v4.3.2'>",
    "mediawiki": "<meta name='generator' content='MediaWiki 1.39.3'>",
    "confluence": "<link href='confluence.css' rel='stylesheet'>",
    "docusaurus": "<meta name='generator' content='Docusaurus v3.1'>",
    "mkdocs": "<meta name='generator' content='mkdocs-1.5.3, mkdocs-material-9'>",
    "javadoc": "<meta name='description' content='made by javadoc'>",
    "doxygen": "<meta name='generator' content='Doxygen 1.9.4'>",
    "": "",
}
NAVIGATION = {
    "sphinx": "<div class='sphinxsidebar'><p>GONE</p></div><div class='clear footer'>GONE</div>",
    "docbook": "<div class='navheader'><table><tr><td>GONE</td></tr></table></div><div class='toc'>GONE</div>",
    "publican": "<ul class='docnav top'><li>GONE</li></ul>",
    "mediawiki": "<div id='mw-panel'>GONE</div><div id='catlinks'>GONE</div><div class='printfooter'>GONE</div>",
    "confluence": "<div id='breadcrumb-section'><ol><li>GONE</li></ol></div><div class='page-metadata'>GONE</div>",
    "docusaurus": "<div class='theme-doc-toc-desktop'><ul><li>GONE</li></ul></div>",
    "mkdocs": "<div class='md-sidebar md-sidebar--primary'>GONE</div>",
    "javadoc": "<div class='topNav'><ul><li>GONE</li></ul></div>",
    "doxygen": "<div id='nav-path' class='navpath'><ul><li>GONE</li></ul></div>",
    "": "<div role='navigation'>GONE</div><p class='breadcrumbs'>GONE</p><div role='contentinfo'>GONE</div>",
}
CONTENT = """<header><h1>Leave</h1></header><p>Thirty <b>days</b>.</p>
<form action='page.aspx'><table><tr><th>Grade</th><th>Days</th></tr><tr><td>A</td><td>30</td></tr></table></form>
<pre>grant(30)</pre><ul><li><a href='travel.html'>Travel</a></li></ul><aside class='footnote-list'>Of 2026.</aside>"""


def read(page: str, folder: Path) -> str:
    file = folder / "page.html"
    file.write_text(page)
    [part] = parse(file, Format.HTML, rows=False)
    return part.text


@pytest.mark.parametrize("tool", HEADS)
def test_navigation_goes_and_content_stays(tool: str, tmp_path: Path) -> None:
    body = f"<nav>GONE</nav>{NAVIGATION[tool]}<main>{CONTENT}</main><footer>GONE</footer>"
    text = read(f"<html><head><title>Rules</title>{HEADS[tool]}</head><body>{body}</body></html>", tmp_path)
    assert "GONE" not in text
    for wanted in ("Rules", "# Leave", "Thirty **days**.", "| A ", "grant(30)", "[Travel](travel.html)", "Of 2026."):
        assert wanted in text, wanted


def test_class_of_one_tool_says_nothing_in_the_pages_of_another(tmp_path: Path) -> None:
    assert "Of all leave." in read("<html><body><div class='toc footer'>Of all leave.</div></body></html>", tmp_path)


def test_links_to_headings_and_lists_of_what_lies_below_other_pages_go(tmp_path: Path) -> None:
    listed = "<li class='toctree-l1'><a>Guide</a><ul><li class='toctree-l2'><a>Section</a></li></ul></li>"
    title = "<h1>Contents<a class='headerlink' href='#c'>#</a></h1>"
    text = read(f"<html><head>{HEADS['sphinx']}</head><body>{title}<ul>{listed}</ul></body></html>", tmp_path)
    assert text.split() == ["#", "Contents", "-", "Guide"]


def test_page_that_is_a_menu_keeps_it(tmp_path: Path) -> None:
    assert read("<html><body><nav><a href='a'>Alpha</a></nav></body></html>", tmp_path).strip() == "[Alpha](a)"


def test_drawing_does_not_become_its_bytes(tmp_path: Path) -> None:
    assert read("<body><svg><path d='M0 0'/></svg><p>A plan.</p></body>", tmp_path).strip() == "A plan."
