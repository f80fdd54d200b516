"""From a CT volume to relative perfusion and functional lung; no network, no storage, no DICOM writing of results.

Read in this order: `errors`, `geometry`, `anatomy`, `model_card`, `volumes` (the nouns, numpy only), `ct_series`
(datasets to `CtVolume`), `lobes`, `perfusion`, `function_regions`, `quality`, and `engine`, which tells the story.
Import a thing from the file that defines it; nothing is re-exported here.
"""
