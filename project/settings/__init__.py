"""Settings by subject; `base` gathers them, `production` and `test` harden or speed them up."""
