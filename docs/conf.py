# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx builds the documentation; C(make docs) runs it, after antsibull-docs has made pages of the plugins."""

from __future__ import annotations

project = "keyops.aws"
copyright = "Contributors to the keyops.aws collection"  # noqa: A001  Sphinx's name for it
html_title = "keyops.aws"

extensions = ["sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
antsibull_ext_color_scheme = "default-autodark"

# Ansible's own pages: their labels are written by dev/docs.py, so that no build needs the web.
intersphinx_mapping = {"ansible": ("https://docs.ansible.com/projects/ansible/latest/", "../ansible.inv")}

nitpicky = True
default_role = "any"
pygments_style = "ansible"
pygments_dark_style = "github-dark"
highlight_language = "YAML+Jinja"

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["keyops.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1a5fb4", "color-brand-content": "#1a5fb4"},
    "dark_css_variables": {"color-brand-primary": "#78aeed", "color-brand-content": "#78aeed"},
}
html_show_sphinx = False
html_copy_source = False
html_use_index = False
