"""The rules, in plain Python: no I/O, no framework, no clock. Everything else asks these modules."""
