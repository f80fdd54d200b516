"""Our own check of DICOM objects before they leave: what no public validator finds.

dciodvfy, dcentvfy and dicom-validator look at single attributes; this room looks at what attributes mean together and
against the CT, the result, and the other objects. Read `faults` (every rule in one table), then `check` (the two
entry points). Nothing here repairs anything, and nothing here is used to write objects.
"""
