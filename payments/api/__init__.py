"""The HTTP face: JSON in, JSON out, errors as RFC 9457 problems."""
