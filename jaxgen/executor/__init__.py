"""The parent's side of the workers: it starts them, sends commands and notices when they die."""
