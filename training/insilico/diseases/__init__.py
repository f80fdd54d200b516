"""What can be wrong with the lungs: what the CT shows of it, which capillaries are lost, which arteries are narrowed.

Read `disease.py` (what each must answer), `prevalence.py` (how often), then `diseases.py` (who gets what).
"""
