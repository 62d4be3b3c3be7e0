"""``python -m payments.gateways.sandbox``."""

import sys

from payments.gateways.sandbox.server import main

if __name__ == "__main__":
    sys.exit(main())
