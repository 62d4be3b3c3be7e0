"""PhonePe's Standard Checkout v2: payments on its own page, in rupees, over its HTTP API."""
