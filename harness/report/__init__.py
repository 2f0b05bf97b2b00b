"""Tables, plots and galleries: everything is computed from records, nothing is trained."""
