"""What of an HTML page leads elsewhere and says nothing itself, as CSS selectors, by the tool that made the page."""

from __future__ import annotations

__all__ = ["navigation_of"]

_HEAD_CHARACTERS = 10_000
# HTML, section 4.3.4 (nav) and 4.3.8 (footer); WAI-ARIA 1.2, section 5.3.4, landmarks. Not `aside`, which holds
# footnotes and notices, nor `header`, which holds titles. Pictures in text would become their bytes.
_ANYWHERE = (
    *("nav", "footer", "[role=navigation]", "[role=contentinfo]", "[role=banner]", ".breadcrumb", ".breadcrumbs"),
    *("svg", "button"),
)
# By a word of the head in small letters, such as the name of the generator or of a script of its theme. Each selector
# costs time on every page, so that only those of the page's own tool are tried.
_OF_TOOL = {
    "sphinx": (".sphinxsidebar", ".footer", ".headerlink", ".toctree-l2"),
    "sphinx_rtd_theme": (".rst-versions", "[role=search]"),
    "furo": (".sidebar-drawer", ".toc-drawer", ".related-pages", ".headerlink"),
    "pydata-sphinx-theme": (".bd-header", ".bd-sidebar-primary", ".bd-sidebar-secondary", ".prev-next-area"),
    "docbook": (".navheader", ".navfooter", ".toc"),
    "publican": (".docnav", ".toc"),
    "mediawiki": (
        *("#mw-navigation", "#mw-head", "#mw-panel", ".mw-editsection", "#catlinks", "#footer", "#siteSub", "#toc"),
        *("#jump-to-nav", ".mw-jump-link", ".printfooter", ".vector-header-container", ".noprint"),
    ),
    "confluence": ("#breadcrumb-section", "#breadcrumbs", "#footer", ".page-metadata", "#navigation"),
    "docusaurus": (".theme-doc-toc-desktop", ".theme-doc-toc-mobile", ".theme-doc-footer", ".hash-link"),
    "mkdocs": (".md-header", ".md-sidebar", ".md-footer", ".headerlink"),
    "javadoc": (".topNav", ".subNav", ".bottomNav"),
    "doxygen": ("#nav-path", "#nav-tree", ".navpath", "#main-nav", "#MSearchSelectWindow"),
}


def navigation_of(html: str) -> list[str]:
    """Return selectors of the elements of a page to leave out: navigation, side bars, links to headings, footers."""
    head = html[:_HEAD_CHARACTERS].lower()
    found = [selector for word, selectors in _OF_TOOL.items() if word in head for selector in selectors]
    return [*_ANYWHERE, *dict.fromkeys(found)]
