"""What a trial executes, and what it reports."""
