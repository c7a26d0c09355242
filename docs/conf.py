"""How Sphinx builds the documentation: `make docs`."""

from importlib.metadata import version as installed_version

project = "cgru"
author = "The cgru developers"
copyright = "2026, The cgru developers"  # noqa: A001 (Sphinx's name)
version = release = installed_version("cgru")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "tutorials"]
default_role = "code"
html_theme = "furo"
html_title = "cgru"

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it with shapes
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
suppress_warnings = ["ref.python"]  # "Activation" is both a function and a layer, as in Keras

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
