"""The site:  sphinx-build -W -c docs . build/site

Its sources are the pages of docs/, the notebooks and two README.md, as they stand in the repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

project = "fxquant"
html_title = "fxquant"
html_theme = "furo"
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "notebooks/*.py", "README.md", "fxquant/kernels/README.md"]
exclude_patterns = ["build", ".*", "passes", "tests"]  # folders that need no search

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["html_image"]
myst_heading_anchors = 3
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

default_role = "code"
autodoc_member_order = "bysource"


class LinksToSources(SphinxTransform):
    """A link to a Python file that is no page gives the file; one to a folder is text."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        for link in list(self.document.findall(addnodes.pending_xref)):
            target = str(link["reftarget"])
            if link["refdomain"] == "doc" and target not in self.env.project.docnames:
                attributes = {"reftarget": f"/{target}.py", "refdoc": self.env.docname, "refexplicit": True}
                link.replace_self(addnodes.download_reference("", "", *link.children, **attributes))
            elif not link["refdomain"] and ((Path(self.app.srcdir) / self.env.docname).parent / target).is_dir():
                link.replace_self(nodes.inline("", "", *link.children))


def setup(app: Sphinx) -> None:
    app.add_transform(LinksToSources)
