"""The documentation site: ``./scripts/docs`` makes it."""

import importlib.metadata

project = "napari-exposure"
author = "The napari-exposure developers"
release = importlib.metadata.version("napari-exposure")
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
# headings can be linked to
myst_heading_anchors = 3
html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_prev_next": False, "show_toc_level": 2, "icon_links": []}
html_show_sourcelink = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
