"""The third engine: TotalSegmentator's lobes, by weights that a site imports itself."""
