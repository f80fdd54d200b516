"""The transfer-learning study: pre-train on non-cancer patients, fine-tune on lung cancer, three-fold cross-validation.

Design after Ren et al., Front Oncol 2022;12:883516. So far this room holds the recipe (`recipe`), scores and trivial
predictors (`metrics`, `baselines`) and the in-silico cohort (`insilico`); the loop and the study itself follow. It
stands on `inference` and never imports `dicom_node`.
"""
