"""What people see: projections, figures, overdue flags, exports, metrics and the reading API."""
