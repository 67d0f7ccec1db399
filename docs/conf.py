"""Sphinx builds the pages of this folder as a site: ``make docs``."""

project = "Purple Sector"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {
    "description": "Open telemetry for sim racing",
    "page_width": "1100px",
    "fixed_sidebar": True,
}
myst_heading_anchors = 3
# Links to files of the repository, such as the settings and the proto, have no page of their own.
suppress_warnings = ["myst.xref_missing"]
