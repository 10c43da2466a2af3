"""HTML out of text that is not trusted: whatever is not made here is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, /, *children: str | None, **attributes: str) -> Markup:
    """An element; of its attributes a trailing ``_`` is left out, and others are hyphens.

    Examples
    --------
    >>> element("p", "1 < 2, ", element("b", "so it is"), class_="note")
    '<p class="note">1 &lt; 2, <b>so it is</b></p>'
    >>> element("img", alt='"', src="data:,")
    '<img alt="&quot;" src="data:,">'
    """
    words = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    start = f"<{tag}{words}>"
    return Markup(start if tag in _VOID else f"{start}{joined(children)}</{tag}>")


_VOID = ("img", "meta")


def joined(children: Iterable[str | None]) -> Markup:
    """One after the other; None is nothing."""
    texts = [child if isinstance(child, Markup) else escape(child) for child in children if child is not None]
    return Markup("".join(texts))


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> Markup:
    """A table that scrolls sideways where there is no room; the first cell of each row is its heading.

    Parameters
    ----------
    caption : str
    heads : sequence of str
    rows : iterable of sequences of str
    align : str
        ``<`` or ``>`` for each column.
    """
    sides = ["number" if side == ">" else "text" for side in align]
    head = [element("th", text, scope="col", class_=side) for text, side in zip(heads, sides, strict=True)]
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", text, class_=side) for text, side in zip(row[1:], sides[1:], strict=True)),
        )
        for row in rows
    ]
    return scrolling(
        caption,
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *head)),
            element("tbody", *body),
        ),
    )


def definitions(rows: Iterable[tuple[str, str]]) -> Markup:
    """Terms, each with what it is."""
    return element("dl", *(element(kind, text) for row in rows for kind, text in zip(("dt", "dd"), row, strict=True)))


def scrolling(what: str, child: Markup, class_: str = "wide") -> Markup:
    """What may be wider than the page; it can be scrolled by keyboard, too."""
    return element("div", child, class_=class_, tabindex="0", role="group", aria_label=what)


def picture(data: bytes, kind: str, alternative: str) -> Markup:
    """An image within the page. As an image an SVG can neither run anything nor load anything."""
    return element("img", src=f"data:image/{kind};base64,{base64.b64encode(data).decode()}", alt=alternative)
