"""A report's pages as tests read them."""

import html.parser
import re

from jaxgen.report.writing import write_report


def texts(folder, **settings):
    """Return both pages of a report by their endings."""
    written = write_report([folder], **settings)
    return {"md": written.markdown.read_text(), "html": written.html.read_text()}


def plain(page):
    """Return a page's words without its marks."""
    page = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", page).replace("\u00a0", " ").replace("\\", "")


class Outline(html.parser.HTMLParser):
    """The tags of a page, and whether each is closed where it should be."""

    VOID = frozenset({"meta", "input", "br", "img", "link"})

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, tag):
        return [attributes for name, attributes in self.seen if name == tag]


def outline(page):
    parsed = Outline()
    parsed.feed(page)
    assert parsed.open == []
    return parsed
