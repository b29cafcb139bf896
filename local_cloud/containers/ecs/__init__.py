"""ECS on the engine: what a task runs, when it is healthy, and when a deployment has succeeded or failed."""
