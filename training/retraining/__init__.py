"""Retraining by the clinic: from accepted pairs of a study store to a signed model, and its figures beside another's.

Networks, loop, jobs and runner are those of the study (docs/study.md). What is here is what a hospital's own pairs
need: how patients are dealt (`split`), how a pair becomes a case (`pair_cases`), what it starts from (`start_model`),
what is planned (`plan`), what it costs (`cost`), the bundle (`site_bundle`), and two models beside each other on
patients whom no training has ever seen (`held_out`, `evaluation`, `comparison`).
"""
