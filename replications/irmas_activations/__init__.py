"""Han, Kim and Lee's network for predominant instruments on IRMAS, and what its layers answer to (study 001)."""
