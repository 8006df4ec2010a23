"""What is evaluated: splits of people and photos, publications, and what happens to them afterwards."""
