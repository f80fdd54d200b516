"""From a CT volume to relative perfusion and functional lung; no network, no storage, no DICOM writing of results.

Read in this order: `errors`, `geometry`, `anatomy`, `model_card`, `volumes` (the nouns, numpy only), `ct_series` with
`ct_headers` and `ct_pixels` (datasets to `CtVolume`), `lobes`, `perfusion`, `function_regions`, `quality`; `engine`
tells the story. `thorax` draws a patient whose answers are known; `ct_instances` writes it as a scanner would.
Import a thing from the file that defines it; nothing is re-exported here.
"""
