"""Container images without a container engine: a Dockerfile's effects as a directory tree."""
