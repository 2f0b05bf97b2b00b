"""The published studies, a folder each."""
