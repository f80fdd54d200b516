"""Pages of `docs/` whose tables are made from the tables in code, so that they cannot say something else.

`python -m dicom_node.documents.pages docs` makes all of them anew; a test compares.
"""
