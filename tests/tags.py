"""What a page is made of, for tests that ask what it fetches and says."""

from html.parser import HTMLParser


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
