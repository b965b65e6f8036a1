"""A command's only run, or the points of a sweep: which are done already, and the table of all."""
