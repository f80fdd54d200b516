"""The transfer-learning study: pre-train on non-cancer patients, fine-tune on lung cancer, three-fold cross-validation.

Design after Ren et al., Front Oncol 2022;12:883516. `study` is the story: a recipe becomes jobs, `job_process` does one
of them, `report` tells what came out. Patients are in-silico ones (`insilico`), prepared once (`case_preparation`).
The room stands on `inference` and never imports `dicom_node`.
"""
