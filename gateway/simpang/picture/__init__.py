"""The picture processes: the only place that imports PyAV and PIL. Short-lived, no network, fed by a pipe."""
