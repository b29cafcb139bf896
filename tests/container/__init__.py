"""The generated project's image, built from its Dockerfile and run the way Fargate runs it."""
