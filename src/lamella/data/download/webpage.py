"""Web pages that come where an archive was expected: what they ask for, and what they complain about."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_CONFIRM = "confirm"  # the hidden field by which Google Drive is told "download anyway"
_QUOTA = ("too many users", "quota")
_LOGIN = ("sign in", "log in", "login", "you need access", "password")


@dataclass
class Form:
    """A form of a page: where it goes, and its hidden fields."""

    action: str
    method: str
    hidden: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """Title, text and forms of a page of HTML.

    Args:
        html: the page, or its beginning.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.title = ""
        self.text = ""
        self.forms: list[Form] = []
        self._inside = ""
        self.feed(html)
        self.title = " ".join(self.title.split())[:80]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in ("title", "script", "style"):
            self._inside = tag
        elif tag == "form":
            self.forms.append(Form(values.get("action", ""), values.get("method", "get").lower()))
        elif tag == "input" and values.get("type", "").lower() == "hidden" and self.forms and values.get("name"):
            self.forms[-1].hidden[values["name"]] = values.get("value", "")
        elif tag == "input" and values.get("type", "").lower() == "password":
            self.text += " password "

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
        elif not self._inside:
            self.text += data

    def confirmation(self) -> Form | None:
        """The form by which Google Drive asks whether a file too large for its virus scan is wanted all the same."""
        return next((form for form in self.forms if _CONFIRM in form.hidden), None)

    def complaint(self) -> str:
        """What the page is, in words."""
        said = f"{self.title} {self.text}".lower()
        named = f" titled {self.title!r}" if self.title else ""
        if any(word in said for word in _QUOTA):
            return f"a web page{named}: its daily limit of downloads is reached, try again tomorrow"
        if any(word in said for word in _LOGIN):
            return f"a web page{named} that asks for a login"
        return f"a web page{named}"
