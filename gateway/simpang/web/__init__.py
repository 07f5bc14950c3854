"""The web API and the page. Serve them with `listeners.serve`."""
