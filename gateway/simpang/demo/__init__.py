"""Demo cameras that are real devices to the gateway, and the demo that runs some of them beside it."""
