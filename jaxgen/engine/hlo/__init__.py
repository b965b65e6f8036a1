"""What compiled programs contain: copies, widened arrays, collectives."""
