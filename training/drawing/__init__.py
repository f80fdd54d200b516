"""How pictures of this package look: their colours, their axes, their files.

What pages of patients, the report on the cohort's realism and the report on the study have in common stands here, so
that one thing has one colour everywhere.
"""
