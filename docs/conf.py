"""How Sphinx builds the documentation: ``make docs``. Nothing here needs the network."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import logging
import re
from typing import Any

from numpydoc.xref import DEFAULT_LINKS

import jaxor

project = "jaxor"
author = copyright = "The jaxor developers"
release = version = jaxor.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery"]
highlight_language = "none"
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(collections|jax|matplotlib|numpy|optax)\..*")]  # other sites are not linked

html_theme = "furo"
html_title = f"jaxor {release}"
html_static_path = ["static"]
html_css_files = ["jaxor.css"]
html_copy_source = False

myst_heading_anchors = 4

PUBLIC = jaxor._HOMES
logging.getLogger("jax").setLevel(logging.WARNING)  # which devices it looked for in vain

# A name in single backticks in a docstring is a link, and has to lead somewhere.
default_role = "py:obj"
autodoc_typehints = "none"  # the docstrings have them, in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {name: f"jaxor.{name}" for name in PUBLIC}
numpydoc_xref_ignore = "all"
DEFAULT_LINKS.clear()  # they lead to other sites

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"\.py$",
    "doc_module": ("jaxor",),
    "reference_url": {"jaxor": None},
    "download_all_examples": False,
    "show_signature": False,
    "image_srcset": ["2x"],
    "within_subsection_order": "FileNameSortKey",
    "write_computation_times": False,
}


def link_names(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn single backticks around a parameter or field into code, around a public name into a link to it."""
    own: set[str] = set()
    if callable(thing):
        with contextlib.suppress(TypeError, ValueError):
            own |= set(inspect.signature(thing).parameters)
    if dataclasses.is_dataclass(thing):
        own |= {field.name for field in dataclasses.fields(thing)}

    def role(match: re.Match[str]) -> str:
        word = match[1]
        return f"``{word}``" if word in own else f":py:obj:`~jaxor.{word}`" if word in PUBLIC else match[0]

    lines[:] = [re.sub(r"(?<![`:])`(\w+)`(?!`)", role, line) for line in lines]


def skip_fields(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out fields of named tuples: Python calls each an alias for a number, the tuple says what they are."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def quote_commands(app: Any, context: Any, lines: list[str]) -> None:
    """Single backticks in the help of a command are what one types."""
    lines[:] = [re.sub(r"(?<![`:])`([^`]+)`(?!`)", r"``\1``", line) for line in lines]


def link_pages(app: Any, name: str, content: list[str]) -> None:
    """Links of the site have titles in place of file names, and lead to what came of the gallery's scripts."""
    text = re.sub(r"\]\(gallery/(\w+)\.py\)", r"](generated/gallery/\1.rst)", content[0])
    content[0] = re.sub(r"\[[\w-]+\.md\]\(", "[](", text)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", link_names)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("source-read", link_pages)
    for part in ("description", "options"):
        app.connect(f"sphinx-click-process-{part}", quote_commands)
