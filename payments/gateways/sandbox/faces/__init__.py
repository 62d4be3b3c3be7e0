"""The dialects of other gateways that the sandbox speaks besides its own."""
