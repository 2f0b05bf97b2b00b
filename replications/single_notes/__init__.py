"""Inception-ResNet-v2 on single notes of seven orchestral instruments."""
