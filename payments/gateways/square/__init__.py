"""Square, over its official SDK. The adapter asks, answers.py and pages.py read, hearing.py verifies events."""
