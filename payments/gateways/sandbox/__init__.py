"""A payment gateway to run against: its own process, its own ledger, and every way a gateway can fail.

Start it with ``python -m payments.gateways.sandbox``. It shares no code with the rest of ``payments``: a
bug there must not be able to hide itself here. The engine (``ledger``, ``rules``, ``engine``) knows nothing
about HTTP; a face (``api``) translates one dialect into the engine's commands and its outcomes back into
answers.
"""
