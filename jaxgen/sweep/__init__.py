"""The points of a sweep: which job is which, what is done already, and the table of all of them."""
