"""How long a first deploy takes, what decides it, and what waits needlessly.

`make critical-path STAGE=prod` prints it. The graph is the templates' own, at the values of a stage file; the
creation times are in `times.yaml`.
"""
