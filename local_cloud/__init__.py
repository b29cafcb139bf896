"""AWS on one machine: an emulator, handlers for what it lacks, and real processes behind its services."""
