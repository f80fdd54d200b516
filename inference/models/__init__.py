"""Model bundles: what one is made of, who signed it, and how it is read and written.

Read in this order: `manifest` (what a bundle says of itself), `signature` (keys), `bundle` (reading, with every check),
`bundle_folder` (writing), `shipped` (the model that comes with the node).
"""
