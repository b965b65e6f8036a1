"""The plots of a report.

Each module turns points into a `Drawing`, or says why there is nothing to draw; `choose` says which
plots a report has, `style` how all of them look, and `render` makes the files.
"""
