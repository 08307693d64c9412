"""`make bench`: this product against named alternatives in the same run; ratios, not absolute times, are what to quote."""
