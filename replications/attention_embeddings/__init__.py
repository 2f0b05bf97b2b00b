"""Attention over embeddings from differently pre-trained networks, on OpenMIC-2018 (study 003)."""
