"""Payment gateways: how each is spoken to. They know no rows; the lifecycle gives them values and takes values."""
