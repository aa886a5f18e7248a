"""The documentation site: ``sphinx-build docs site`` makes it."""

import importlib.metadata

project = "napari-exposure"
author = "The napari-exposure developers"
release = importlib.metadata.version("napari-exposure")
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
# headings can be linked to
myst_heading_anchors = 3
html_theme = "pydata_sphinx_theme"
# Without the version: with it the title is wider than a telephone.
html_title = project
# All pages stand in the column on the left, so that the bar at the top needs none.
html_theme_options = {"show_prev_next": False, "show_toc_level": 2, "icon_links": [], "navbar_center": []}
html_sidebars = {"**": ["pages.html"]}
html_show_sourcelink = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True


def setup(app):
    """Citations are the items of their list for those who hear the page: docutils gives them a role that is retired."""

    def heard(_app, _name, _template, context, _doctree):
        if "body" in context:
            context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')

    app.connect("html-page-context", heard)
