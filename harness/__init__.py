"""What all studies of Reprise share: corpora, features, models, training, metrics, explanations, reports."""

__version__ = "0.1.0"
