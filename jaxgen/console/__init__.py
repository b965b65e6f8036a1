"""What the terminal shows while a run or a sweep goes on, and at its end."""
