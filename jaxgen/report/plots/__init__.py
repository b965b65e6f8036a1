"""The plots of a report: each module turns points into a `Drawing`, or says why there is nothing to draw."""
