"""PayPal: Orders v2 and Payments v2 over our own transport. docs/gateways.md says where each fact is from."""
