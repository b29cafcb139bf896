"""An engine whose containers are processes, with the part of the Docker SDK's surface that ministack uses."""
