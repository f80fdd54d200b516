"""DICOM results: Parametric Map and RT Structure Set.

Everything a DICOM reviewer wants to read is in this room: `codes` (every code, name and colour), `identifiers` (UIDs),
`provenance` (what is copied from the CT and who made the object), `contours`, and one file per object.
"""
