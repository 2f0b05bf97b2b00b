"""Three small networks on music genre, and what they listen to, as pictures and as sound, on GTZAN (study 002)."""
