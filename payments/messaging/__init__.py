"""Messages to customers: what they say, the links in them, and how they leave.

Every sending ends with a value (endings.py) that says what is proven: sent, not sent, or neither. It is made outside
every transaction, without a database connection, and within a bounded time.
"""
