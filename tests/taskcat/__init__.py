"""taskcat over the default project, against AWS or the local cloud."""
