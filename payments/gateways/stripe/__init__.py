"""Stripe, through its official SDK: Payment Intents for a card's token, Checkout Sessions for its hosted page."""
