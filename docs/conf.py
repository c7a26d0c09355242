"""How Sphinx builds the documentation: `make docs`."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # way_of_a_batch.py

project = "cgru"
author = "The cgru developers"
copyright = "2026, The cgru developers"  # noqa: A001 (Sphinx's name)
version = release = installed_version("cgru")

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "tutorials"]
nitpicky = True  # a link to a class or function that is not there is an error
nitpick_ignore_regex = [(r"py:.*", r"(?!cgru\.).*")]  # types in docstrings are words, not links
default_role = "code"
html_theme = "furo"
html_title = "cgru"
html_static_path = ["_static"]
html_css_files = ["tables.css"]

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it with shapes
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

plot_formats = ["svg"]
plot_html_show_formats = plot_html_show_source_link = False

sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "auto_tutorials",
    "filename_pattern": "plot_",
    "image_srcset": ["2x"],
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "within_subsection_order": "FileNameSortKey",
}
