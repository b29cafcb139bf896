"""How fast the generated server is, as ratios to its yardsticks measured in the same run."""
