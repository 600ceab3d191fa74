"""Builds the pages of this folder into a site: `make docs`. ADR 0016 says why it is done so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

project = "TheNodes for Python"
author = "The TheNodes authors"
project_copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "tools.docs_site",
]
source_suffix = {".md": "markdown"}
exclude_patterns: list[str] = []

# A page is written for a forge as well: headings have the anchors that they have there.
myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist"]

# Where the site's readers find what is in the repository and not on the site.
repository_url = os.environ.get("THENODES_REPOSITORY_URL", "")

nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of the standard library and of msgspec
default_role = "code"
highlight_language = "text"

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
