"""The commands of `perfnode`, one file for each thing they are about. `cli` puts them together.

Imports of the work itself stand inside the commands, so that `--help` answers at once and loads no imaging library.
"""
