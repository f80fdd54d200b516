"""DICOM results: Parametric Map, RT Structure Set, and what else a destination may order.

Everything a DICOM reviewer wants to read is in this room: `kinds` (every kind of object), `codes` (every code, name and
colour), `identifiers` (UIDs), `provenance` (what is copied from the CT and who made the object), `contours`, and one
file per object.
"""
