"""What the site decides: its TOML file, checked with all mistakes told at once, and the frozen settings made of it.

Read `site_file.py` (the file as written) and `config.py` (what the node works with).
"""
