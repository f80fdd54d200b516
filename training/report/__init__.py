"""The report on a study: tables and pictures as one document, written as HTML page and as Markdown.

It reads the folder of results and nothing else, and computes no score: those are in the results, its statistics in
`training.comparisons`. What is said is chosen here, once, for both forms.
"""
