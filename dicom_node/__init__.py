"""The DICOM node: receives planning CTs, has them processed by `inference`, returns objects to PACS.

Read `pipeline` first: it is the product in one file. `receiver` and `delivery` are the only doors to the network,
`objects` is the only place where DICOM results are written, `jobs` is the only user of the durable engine.
"""
