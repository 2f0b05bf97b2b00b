"""ResNet-50 and VGGish unfrozen step by step on OpenMIC-2018 (study 000)."""
