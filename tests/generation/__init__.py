"""Generating projects: which answers are refused, and what comes out."""
