"""The way from a client to the tasks, with haproxy set up from the templates' own load balancer."""
