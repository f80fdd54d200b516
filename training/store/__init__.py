"""The study store: pairs of CT and perfusion image for training, with nothing in them that says whose they are.

It lies apart from the node's spool. What comes in is de-identified before it is written, so an identifier is never on
its disk; `study_store` is the story. The key that links pseudonyms to patients lies outside of the store's folder.
"""
