"""Files that a site reads and edits; a package only so that an installed node finds the profiles it ships with."""
