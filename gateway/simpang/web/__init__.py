"""The web API and the page. `listeners.serve` serves them, `application.make_app` is the aiohttp application."""
