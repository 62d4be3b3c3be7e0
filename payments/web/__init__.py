"""Pages for people: the demo shop, and what a customer sees while paying."""
