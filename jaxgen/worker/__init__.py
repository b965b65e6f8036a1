"""The worker's side: the process that owns the devices and serves the parent's commands."""
