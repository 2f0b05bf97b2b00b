"""Scores of predictions and how sure they are: numpy in, numbers out."""
