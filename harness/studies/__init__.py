"""Studies as data: what a paper states, the trials that play it again, and the records they leave behind."""
